"""Whose objects a call may see and use.

Source: AccountManagerImpl.buildACLSearchParameters, checkAccess.
"""

from collections.abc import Callable, Iterable

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import Call, Caller

Owns = Callable[[model.Account], bool]


def can_access(caller: Caller, owner: model.Account) -> bool:
    """Whether the caller may see and change what ``owner`` has."""
    if caller.is_root or owner is caller.account:
        return True
    if caller.is_domain_admin and caller.account.domain.contains(owner.domain):
        return True
    return owner.project is not None and caller.account in owner.project.members


def owner_of(record: model.Record) -> model.Account | None:
    """The account that a record belongs to; None where it is everybody's or nobody's."""
    if isinstance(record, model.Nic):
        return record.vm.account
    if isinstance(record, model.Project):
        return record.account
    if isinstance(record, model.Job | model.User | model.Account):
        return None
    owner: model.Account | None = getattr(record, "account", None)
    return owner


def is_open(record: model.Record) -> bool:
    """Whether everybody may use the record though it has an owner."""
    if isinstance(record, model.Template):
        return record.public
    return isinstance(record, model.Network) and record.acl_type == "Domain"


def permission_error(caller: Caller, record: model.Record) -> errors.ApiError:
    """531 for a record of somebody else."""
    kind = type(record).__name__
    return errors.denied(f"Acct[{caller.account.uuid}] does not have permission to operate with resource {kind}")


def check_arguments(call: Call) -> None:
    """Refuse records of other accounts, before anything else is looked at.

    :raises ApiError: 531.
    """
    for name, record in call.args.records():
        owner = owner_of(record)
        if owner is None or can_access(call.caller, owner):
            continue
        if name != "id" and is_open(record):
            continue
        raise permission_error(call.caller, record)


def check_live(call: Call) -> None:
    """Refuse records that are removed.

    :raises ApiError: 431.
    """
    for name, record in call.args.records():
        if record.removed:
            raise errors.invalid(f"Unable to find {type(record).__name__.lower()} with {name} {record.uuid}")


def find_account(call: Call, name: str, domain: model.Domain) -> model.Account:
    """The account of that name in that domain.

    :raises ApiError: 431 if there is none, 531 if it is out of the caller's reach.
    """
    for account in call.state.rows(model.Account):
        if account.domain is domain and account.project is None and account.name.casefold() == name.casefold():
            if not can_access(call.caller, account):
                raise errors.denied(f"Acct[{call.caller.account.uuid}] has no access to account {name}")
            return account
    raise errors.invalid(f"could not find account {name} in domain {domain.uuid}")


def find_project_account(call: Call, project: model.Project) -> model.Account:
    """The hidden account of a project.

    :raises ApiError: 531 if the caller is not of it.
    """
    if project.removed:
        raise errors.invalid(f"Unable to find project by id {project.uuid}")
    if not can_access(call.caller, project.account):
        raise errors.denied(f"Account {call.caller.account.name} can't access project id={project.uuid}")
    return project.account


def check_domain(call: Call, domain: model.Domain) -> None:
    """:raises ApiError: 531 if the caller has no access to the domain."""
    caller = call.caller
    if caller.is_root or domain is caller.account.domain:
        return
    if not (caller.is_domain_admin and caller.account.domain.contains(domain)):
        raise errors.denied(f"Acct[{caller.account.uuid}] has no access to domain {domain.uuid}")


def owner_for_new(call: Call) -> model.Account:
    """The account that a new object shall belong to: by ``account`` and ``domainid``, ``projectid``, or the caller's.

    :raises ApiError: 431 or 531.
    """
    name = call.args.text("account")
    project = call.args.one("projectid", model.Project)
    domain = call.args.one("domainid", model.Domain)
    if project is not None:
        if name is not None:
            raise errors.invalid("Account and projectId can't be specified together")
        owner = find_project_account(call, project)
        if project.state != "Active":
            raise errors.denied(f"Can't add resources to the project id={project.uuid} in state={project.state}")
        return owner
    if call.args.all_projects:
        raise errors.invalid("Unable to find project by id -1")
    if name is not None:
        return find_account(call, name, domain or call.caller.account.domain)
    if domain is not None:
        check_domain(call, domain)
    return call.caller.account


def list_scope(call: Call, *, by_id: bool) -> Owns:
    """Which owners' objects a list command shows.

    :raises ApiError: 431 or 531 for parameters that contradict each other or reach too far.
    """
    args, caller = call.args, call.caller
    name = args.text("account")
    project = args.one("projectid", model.Project)
    domain = args.one("domainid", model.Domain)
    list_all = bool(args.flag("listall"))
    if name is not None and (project is not None or args.all_projects):
        raise errors.invalid("Account and projectId can't be specified together")
    if domain is not None:
        check_domain(call, domain)
    if name is not None:
        wanted = find_account(call, name, domain or caller.account.domain)
        return lambda owner: owner is wanted
    if project is not None:
        hidden = find_project_account(call, project)
        return lambda owner: owner is hidden
    if args.all_projects:
        return lambda owner: _in_all_projects(caller, owner, list_all=list_all)
    if by_id:
        return lambda owner: can_access(caller, owner)
    if not caller.is_admin:
        return lambda owner: owner is caller.account
    if domain is not None:
        recursive = bool(args.flag("isrecursive")) or list_all
        return lambda owner: _in_domain(owner, domain, recursive=recursive)
    if list_all:
        return lambda owner: owner.project is None and can_access(caller, owner)
    return lambda owner: owner is caller.account


def _in_all_projects(caller: Caller, owner: model.Account, *, list_all: bool) -> bool:
    if owner.project is not None:
        return can_access(caller, owner)
    if not list_all:
        return False
    return can_access(caller, owner) if caller.is_admin else owner is caller.account


def _in_domain(owner: model.Account, domain: model.Domain, *, recursive: bool) -> bool:
    if owner.project is not None:
        return False
    return domain.contains(owner.domain) if recursive else owner.domain is domain


def visible(call: Call, rows: Iterable[model.Record], *, by_id: bool | None = None) -> list[model.Record]:
    """The records among ``rows`` that the call's list parameters cover."""
    subject = call.args.has("id") or call.args.has("ids")
    scope = list_scope(call, by_id=subject if by_id is None else by_id)
    found = []
    for row in rows:
        owner = owner_of(row)
        if owner is not None and scope(owner):
            found.append(row)
    return found


def owner_fields(owner: model.Account) -> dict[str, str]:
    """The fields by which replies name an owner: account, or project and projectid; and the domain."""
    fields = {"domain": owner.domain.name, "domainid": owner.domain.uuid, "domainpath": owner.domain.path}
    if owner.project is not None:
        return {"project": owner.project.name, "projectid": owner.project.uuid, **fields}
    return {"account": owner.name, **fields}
