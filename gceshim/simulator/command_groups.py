"""Every group of commands, and all of them by name."""

from gceshim.simulator.commands import (
    accounts,
    addresses,
    discovery,
    firewalls,
    infrastructure,
    jobs,
    keypairs,
    limits,
    network_acls,
    networks,
    nics,
    offerings,
    projects,
    security_groups,
    tags,
    templates,
    userdata,
    vms_change,
    vms_deploy,
    vms_list,
    vms_state,
    volumes,
    vpcs,
)
from gceshim.simulator.registry import Handler, collect

GROUPS = (
    accounts,
    addresses,
    discovery,
    firewalls,
    infrastructure,
    jobs,
    keypairs,
    limits,
    network_acls,
    networks,
    nics,
    offerings,
    projects,
    security_groups,
    tags,
    templates,
    userdata,
    vms_change,
    vms_deploy,
    vms_list,
    vms_state,
    volumes,
    vpcs,
)


def all_handlers() -> dict[str, Handler]:
    """Every command, by name."""
    return collect(GROUPS)
