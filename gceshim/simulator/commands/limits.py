"""Resource limits, by command.

Source: ResourceLimitManagerImpl, Resource.ResourceType.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator import limits as quotas
from gceshim.simulator.call import ROOT_ADMIN, Call
from gceshim.simulator.registry import Listing, Provenance, Row, command


def _resource(call: Call) -> str | None:
    number, name = call.args.number("resourcetype"), call.args.text("resourcetypename")
    if number is not None:
        if not 0 <= number < len(quotas.RESOURCES):
            raise errors.invalid("Please specify a valid resource type.")
        return quotas.RESOURCES[number]
    if name is not None:
        if name.lower() not in quotas.RESOURCES:
            raise errors.invalid("Please specify valid resource type name.")
        return name.lower()
    return None


@command("listResourceLimits", Provenance.RECORDED)
def list_resource_limits(call: Call) -> Listing:
    resource = _resource(call)
    owner = scopes.owner_for_new(call)
    chosen = [resource] if resource is not None else list(quotas.RESOURCES)
    return Listing(chosen, lambda name: limit_row(call, owner, name))


def limit_row(call: Call, owner: model.Account, resource: str) -> Row:
    return {
        "resourcetype": str(quotas.RESOURCES.index(resource)),
        "resourcetypename": resource,
        "max": quotas.limit_of(call.settings, owner, resource),
        **scopes.owner_fields(owner),
    }


@command("updateResourceLimit", Provenance.DOCUMENTED, admin_only=True)
def update_resource_limit(call: Call) -> Row:
    resource = _resource(call)
    if resource is None:
        raise errors.invalid("Please specify a valid resource type.")
    if call.args.one("domainid", model.Domain) is not None and call.args.text("account") is None:
        raise errors.invalid("Limits of whole domains are not simulated; please specify an account")
    owner = scopes.owner_for_new(call)
    if owner.kind == ROOT_ADMIN:
        raise errors.invalid("Can't update resource limit for the root admin account")
    most = call.args.number("max")
    if most is None:
        owner.limits.pop(resource, None)
    elif most < -1:
        raise errors.invalid("Maximum limit should be a non-negative number or -1 for unlimited")
    else:
        owner.limits[resource] = most
    return limit_row(call, owner, resource)
