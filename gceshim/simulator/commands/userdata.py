"""Registered user data."""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune
from gceshim.simulator.commands.vm_rules import read_user_data
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command


@command("registerUserData", Provenance.DOCUMENTED)
def register_user_data(call: Call) -> Row:
    owner, name = scopes.owner_for_new(call), call.args.need_text("name")
    content = read_user_data(call, call.args.need_text("userdata"))
    for row in call.state.rows(model.UserData):
        if row.account is owner and row.name == name:
            raise errors.invalid(f"A userdata with name {name} already exists for this account.")
        if row.account is owner and row.content == content:
            raise errors.invalid(f"Userdata {row.name} with same content already exists for this account.")
    made = call.state.new(model.UserData, name=name, account=owner, content=content, params=call.args.text("params"))
    return user_data_row(made, brief=True)


def user_data_row(data: model.UserData, *, brief: bool = False) -> Row:
    owner = scopes.owner_fields(data.account)
    if brief:
        # The reply of a registration knows no projects and paths.
        owner = {key: value for key, value in owner.items() if key in ("account", "domain", "domainid")}
    return prune(
        {
            "id": data.uuid,
            "name": data.name,
            "userdata": data.content,
            "params": data.params,
            "accountid": data.account.uuid,
            "hasannotations": False,
            **owner,
        }
    )


@command("listUserData", Provenance.DOCUMENTED, subject=model.UserData)
def list_user_data(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.UserData)).ids(model.UserData).same("name", lambda row: row.name)
    rows.like("keyword", lambda row: row.name).owned()
    rows.found.reverse()
    return Listing(rows.found, user_data_row)


@command("deleteUserData", Provenance.DOCUMENTED, subject=model.UserData)
def delete_user_data(call: Call) -> None:
    data = call.args.need("id", model.UserData)
    if any(vm.registered_user_data is data for vm in call.state.rows(model.Vm)):
        raise errors.invalid(f"Userdata {data.name} cannot be removed as it is linked to active user instances")
    call.state.remove(data)
