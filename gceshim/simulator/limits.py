"""Quotas of accounts and projects.

Source: Resource.ResourceType, ResourceLimitManagerImpl.
"""

from collections.abc import Mapping

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import ROOT_ADMIN
from gceshim.simulator.settings import DEFAULT_LIMITS, SimulatorSettings
from gceshim.simulator.state import State

#: CloudStack's resource types; the index is the number on the wire.
RESOURCES = tuple(DEFAULT_LIMITS)

GIB = 1024**3
UNLIMITED = -1

#: Machines in these states use no vCPUs and memory.
GONE_STATES = frozenset({"Destroyed", "Expunging", "Error"})


def usage(state: State, account: model.Account) -> dict[str, int]:
    """What an account uses now: counts, vCPUs, MiB of memory and GiB of storage, by resource type."""
    vms = [vm for vm in state.rows(model.Vm) if vm.account is account and vm.state not in GONE_STATES]
    volumes = [row for row in state.rows(model.Volume) if row.account is account and row.state != "Destroy"]
    templates = [row for row in state.rows(model.Template) if row.account is account]
    return {
        "user_vm": len(vms),
        "public_ip": _count(state, model.PublicIp, account),
        "volume": len(volumes),
        "snapshot": 0,
        "template": len(templates),
        "project": sum(row.members.get(account) == "Admin" for row in state.rows(model.Project)),
        "network": _count(state, model.Network, account),
        "vpc": _count(state, model.Vpc, account),
        "cpu": sum(vm.cpus for vm in vms),
        "memory": sum(vm.memory_mib for vm in vms),
        "primary_storage": sum(row.size_bytes for row in volumes) // GIB,
        "secondary_storage": sum(row.size_gib for row in templates),
    }


def _count(state: State, kind: type[model.Record], account: model.Account) -> int:
    return sum(getattr(row, "account", None) is account for row in state.rows(kind))


def limit_of(settings: SimulatorSettings, account: model.Account, resource: str) -> int:
    """The quota of an account; -1 is unlimited, as root admins are."""
    if resource in account.limits:
        return account.limits[resource]
    return UNLIMITED if account.kind == ROOT_ADMIN else settings.limit(resource)


def check(state: State, settings: SimulatorSettings, account: model.Account, wanted: Mapping[str, int]) -> None:
    """Refuse what would exceed a quota.

    :raises ApiError: 535, naming the first resource type that is short.
    """
    limits = {name: limit_of(settings, account, name) for name in wanted}
    if all(limit == UNLIMITED for limit in limits.values()):
        return
    used = usage(state, account)
    for name, amount in wanted.items():
        limit = limits[name]
        if amount > 0 and limit != UNLIMITED and used[name] + amount > limit:
            raise errors.over_quota(
                f"Maximum amount of resources of Type = '{name}' for Account Name = {account.name} in Domain Id ="
                f" {account.domain.uuid} is exceeded: Account Resource Limit = {limit}, Current Account Resource"
                f" Amount = {used[name]}, Requested Resource Amount = {amount}."
            )
