"""Projects and their members.

Source: ProjectManagerImpl.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, limits, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.accounts import limit_fields, user_row
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Created, Listing, Provenance, Row, command

PROJECT_ACCOUNT = 5


@command("listProjects", Provenance.RECORDED, subject=model.Project)
def list_projects(call: Call) -> Listing:
    caller, args = call.caller, call.args
    rows = Rows(call, call.state.rows(model.Project)).ids(model.Project).same("name", lambda row: row.name)
    rows.same("displaytext", lambda row: row.display_text).same("state", lambda row: row.state)
    rows.like("keyword", lambda row: row.name, lambda row: row.display_text).tags()
    domain, name = args.one("domainid", model.Domain), args.text("account")
    if name is not None:
        account = scopes.find_account(call, name, domain or caller.account.domain)
        rows.where(lambda row: account in row.members)
    elif domain is not None:
        scopes.check_domain(call, domain)
        rows.where(lambda row: domain.contains(row.account.domain))
    elif not (caller.is_admin and (args.flag("listall") or args.has("id"))):
        rows.where(lambda row: caller.account in row.members)
    rows.where(lambda row: scopes.can_access(caller, row.account))
    return Listing(rows.found, lambda row: project_row(call, row))


def project_row(call: Call, project: model.Project) -> Row:
    owners = [account for account, role in project.members.items() if role == "Admin"]
    return prune(
        {
            "id": project.uuid,
            "name": project.name,
            "displaytext": project.display_text,
            "projectaccountname": project.account.name,
            "state": project.state,
            "created": wire_date(project.created),
            "domain": project.account.domain.name,
            "domainid": project.account.domain.uuid,
            "owner": [{"account": account.name} for account in owners],
            "tags": tag_rows(call, project),
            **limit_fields(call, project.account),
        }
    )


@command("createProject", Provenance.RECORDED, java="project.CreateProjectCmd", instance="Project", event="PROJECT.CREATE")  # fmt: skip  # noqa: E501
def create_project(call: Call) -> Created:
    caller = call.caller
    if not caller.is_admin and not call.settings.allow_user_create_projects:
        raise errors.denied("Regular user is not permitted to create a project")
    owner = scopes.owner_for_new(call)
    name = call.args.need_text("name")
    for row in call.state.rows(model.Project):
        if row.name == name and row.account.domain is owner.domain:
            raise errors.invalid(f"Project with name {name} already exists in domain id={owner.domain.uuid}")
    limits.check(call.state, call.settings, owner, {"project": 1})
    hidden = call.state.new(model.Account, name="", domain=owner.domain, kind=PROJECT_ACCOUNT)
    project = call.state.new(
        model.Project, name=name, display_text=call.args.text("displaytext") or name, account=hidden
    )
    hidden.name, hidden.project = f"PrjAcct-{name}-{project.number}", project
    project.members[owner] = "Admin"
    return Created(project, lambda running: _finish(running, project))


async def _finish(call: Call, project: model.Project) -> Row:
    await call.work()
    return project_row(call, project)


@command("listProjectAccounts", Provenance.ASSUMED)
def list_project_accounts(call: Call) -> Listing:
    project = call.args.need("projectid", model.Project)
    scopes.find_project_account(call, project)
    members = list(project.members.items())
    name, role, user = call.args.text("account"), call.args.text("role"), call.args.one("userid", model.User)
    keyword = (call.args.text("keyword") or "").casefold()
    found = [
        (account, part)
        for account, part in members
        if (name is None or account.name.casefold() == name.casefold())
        and (role is None or part.casefold() == role.casefold())
        and (user is None or user.account is account)
        and keyword in account.name.casefold()
    ]
    return Listing(found, lambda pair: member_row(call, project, pair[0], pair[1]))


def member_row(call: Call, project: model.Project, account: model.Account, role: str) -> Row:
    users = [user for user in call.state.rows(model.User) if user.account is account]
    return {
        "projectid": project.uuid,
        "project": project.name,
        "account": account.name,
        "accountid": account.uuid,
        "accounttype": account.kind,
        "domain": account.domain.name,
        "domainid": account.domain.uuid,
        "role": role,
        "user": [user_row(call, user) for user in users],
    }
