"""Domains, accounts, users and their keys.

Source: AccountManagerImpl, QueryManagerImpl.
"""

import secrets
from typing import Any

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator import limits as quotas
from gceshim.simulator.call import DOMAIN_ADMIN, ROOT_ADMIN, Call, prune, wire_date
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command

ROLES = {0: ("User", "User"), ROOT_ADMIN: ("Admin", "Root Admin"), DOMAIN_ADMIN: ("DomainAdmin", "Domain Admin")}

#: Resource types in the words of the ``limit``, ``available`` and ``total`` fields.
LIMIT_FIELDS = {
    "vm": "user_vm",
    "ip": "public_ip",
    "volume": "volume",
    "snapshot": "snapshot",
    "template": "template",
    "project": "project",
    "network": "network",
    "vpc": "vpc",
    "cpu": "cpu",
    "memory": "memory",
    "primarystorage": "primary_storage",
    "secondarystorage": "secondary_storage",
}


def limit_fields(call: Call, account: model.Account) -> Row:
    """The limits, what is left and what is used, of an account or a project."""
    used = quotas.usage(call.state, account)
    fields: dict[str, Any] = {}
    for word, resource in LIMIT_FIELDS.items():
        limit = quotas.limit_of(call.settings, account, resource)
        unlimited = limit == quotas.UNLIMITED
        fields[f"{word}limit"] = "Unlimited" if unlimited else str(limit)
        fields[f"{word}available"] = "Unlimited" if unlimited else str(max(0, limit - used[resource]))
        fields[f"{word}total"] = used[resource]
    if account.project is not None:
        for suffix in ("limit", "available", "total"):
            del fields[f"project{suffix}"]
    vms = [vm for vm in call.state.rows(model.Vm) if vm.account is account]
    fields["vmrunning"] = sum(vm.state == "Running" for vm in vms)
    fields["vmstopped"] = sum(vm.state == "Stopped" for vm in vms)
    return fields


@command("listAccounts", Provenance.RECORDED, subject=model.Account)
def list_accounts(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.Account)).where(lambda row: row.project is None).ids(model.Account)
    rows.same("name", lambda row: row.name).like("keyword", lambda row: row.name)
    rows.same("state", lambda row: row.state).number("accounttype", lambda row: row.kind)
    scope = _account_scope(call)
    rows.where(scope)
    return Listing(rows.found, lambda row: account_row(call, row))


def _account_scope(call: Call) -> scopes.Owns:
    caller = call.caller
    if not caller.is_admin:
        return lambda account: account is caller.account
    domain = call.args.one("domainid", model.Domain)
    if domain is not None:
        scopes.check_domain(call, domain)
        recursive = bool(call.args.flag("isrecursive")) or bool(call.args.flag("listall"))
        return lambda account: domain.contains(account.domain) if recursive else account.domain is domain
    if call.args.flag("listall") or call.args.has("id"):
        return lambda account: scopes.can_access(caller, account)
    return lambda account: account is caller.account


def account_row(call: Call, account: model.Account) -> Row:
    kind, role = ROLES[account.kind]
    users = [user for user in call.state.rows(model.User) if user.account is account]
    return prune(
        {
            "id": account.uuid,
            "name": account.name,
            "accounttype": account.kind,
            "roletype": kind,
            "rolename": role,
            "domain": account.domain.name,
            "domainid": account.domain.uuid,
            "domainpath": account.domain.path,
            "state": account.state,
            "created": wire_date(account.created),
            "isdefault": False,
            "iscleanuprequired": False,
            "groups": [],
            "accountdetails": {},
            "user": [user_row(call, user) for user in users],
            **limit_fields(call, account),
        }
    )


def user_row(call: Call, user: model.User) -> Row:
    kind, role = ROLES[user.account.kind]
    return prune(
        {
            "id": user.uuid,
            "username": user.username,
            "firstname": user.first_name,
            "lastname": user.last_name,
            "email": f"{user.username}@example.com",
            "created": wire_date(user.created),
            "state": user.state,
            "account": user.account.name,
            "accountid": user.account.uuid,
            "accounttype": user.account.kind,
            "roletype": kind,
            "rolename": role,
            "domain": user.account.domain.name,
            "domainid": user.account.domain.uuid,
            "apikey": (user.api_key or None) if may_see_keys(call, user) else None,
            "iscallerchilddomain": False,
            "isdefault": False,
            "is2faenabled": user.two_factor,
            "is2famandated": False,
            "usersource": "native",
        }
    )


def may_see_keys(call: Call, user: model.User) -> bool:
    return user is call.caller.user or (call.caller.is_admin and scopes.can_access(call.caller, user.account))


@command("listUsers", Provenance.RECORDED, subject=model.User)
def list_users(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.User)).ids(model.User).same("username", lambda row: row.username)
    rows.same("account", lambda row: row.account.name).same("state", lambda row: row.state)
    rows.number("accounttype", lambda row: row.account.kind).like("keyword", lambda row: row.username)
    scope = _account_scope(call)
    named = call.args.has("account") and call.caller.is_admin
    rows.where(lambda row: scopes.can_access(call.caller, row.account) if named else scope(row.account))
    if not call.caller.is_admin:
        rows.where(lambda row: row is call.caller.user)
    return Listing(rows.found, lambda row: user_row(call, row))


@command("getUser", Provenance.DOCUMENTED, admin_only=True)
def get_user(call: Call) -> Row:
    key = call.args.need_text("userapikey")
    for user in call.state.rows(model.User):
        if user.api_key == key and scopes.can_access(call.caller, user.account):
            return user_row(call, user)
    raise errors.invalid("Unable to find user by API key")


@command("getUserKeys", Provenance.RECORDED, subject=model.User)
def get_user_keys(call: Call) -> Row:
    return keys_row(_own_user(call))


def keys_row(user: model.User) -> Row:
    """Without ``apikey`` and ``secretkey`` for a user who has none."""
    row: Row = {"apikeyaccess": user.api_key_access}
    if user.api_key:
        row |= {"apikey": user.api_key, "secretkey": user.secret_key}
    return row


@command("registerUserKeys", Provenance.RECORDED, subject=model.User)
def register_user_keys(call: Call) -> Row:
    user = _own_user(call)
    user.api_key, user.secret_key = secrets.token_urlsafe(64), secrets.token_urlsafe(64)
    return {"apikey": user.api_key, "secretkey": user.secret_key}


def _own_user(call: Call) -> model.User:
    user = call.args.need("id", model.User)
    if not may_see_keys(call, user):
        raise scopes.permission_error(call.caller, user)
    return user


@command("listDomains", Provenance.DOCUMENTED, subject=model.Domain)
def list_domains(call: Call) -> Listing:
    caller = call.caller
    rows = Rows(call, call.state.rows(model.Domain)).ids(model.Domain).same("name", lambda row: row.name)
    rows.like("keyword", lambda row: row.name).number("level", lambda row: row.path.count("/"))
    if caller.is_root:
        pass
    elif caller.is_domain_admin:
        rows.where(caller.account.domain.contains)
    else:
        rows.where(lambda row: row is caller.account.domain)
    return Listing(rows.found, lambda row: domain_row(call, row))


def domain_row(call: Call, domain: model.Domain) -> Row:
    children = any(row.parent is domain for row in call.state.rows(model.Domain))
    return prune(
        {
            "id": domain.uuid,
            "name": domain.name,
            "path": domain.path,
            "level": domain.path.count("/"),
            "haschild": children,
            "parentdomainid": domain.parent.uuid if domain.parent else None,
            "parentdomainname": domain.parent.name if domain.parent else None,
            "created": wire_date(domain.created),
            "state": "Active",
            "hasannotations": False,
        }
    )
