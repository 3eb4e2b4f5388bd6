"""What the API itself offers: listApis and listCapabilities, from the catalogue."""

from typing import Any

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import Call
from gceshim.simulator.catalogue import CommandSpec
from gceshim.simulator.registry import Listing, Provenance, Row, command

#: The catalogue's types, as listApis spells them.
_TYPES = {"bool": "boolean", "int": "integer", "list<map>": "map"}


@command("listCapabilities", Provenance.RECORDED)
def list_capabilities(call: Call) -> Row:
    settings = call.settings
    return {
        "cloudstackversion": settings.cloudstack_version,
        "securitygroupsenabled": any(zone.security_groups for zone in call.state.rows(model.Zone)),
        "dynamicrolesenabled": True,
        "userpublictemplateenabled": True,
        "supportELB": "false",
        "projectinviterequired": False,
        "allowusercreateprojects": settings.allow_user_create_projects,
        "customdiskofferingminsize": 1,
        "customdiskofferingmaxsize": 1024,
        "regionsecondaryenabled": False,
        "kvmsnapshotenabled": True,
        "allowuserviewdestroyedvm": settings.allow_user_view_destroyed_vm,
        "allowuserexpungerecovervm": settings.allow_user_expunge_recover_vm,
        "allowuserexpungerecovervolume": settings.allow_user_expunge_recover_vm,
        "allowuserviewalldomainaccounts": False,
        "allowuserforcestopvm": True,
        "kubernetesserviceenabled": False,
        "kubernetesclusterexperimentalfeaturesenabled": False,
        "dynamicscalingenabled": settings.dynamic_scale_vm,
        "defaultuipagesize": 20,
        "instancesstatsretentiontime": 720,
        "instancesstatsuseronly": False,
        "instancesdisksstatsretentionenabled": False,
        "instancesdisksstatsretentiontime": 720,
        "additionalconfigenabled": False,
        "instanceleaseenabled": False,
    }


@command("listApis", Provenance.RECORDED)
def list_apis(call: Call) -> Listing:
    handlers = call.cloud.handlers
    allowed = [
        spec
        for name, spec in call.cloud.catalogue.commands.items()
        if name in handlers and (call.caller.is_admin or not handlers[name].admin_only)
    ]
    wanted = call.args.text("name")
    if wanted is not None:
        allowed = [spec for spec in allowed if spec.name == wanted]
        if not allowed:
            raise errors.failed(f"No Api found for user: {call.caller.account.name}, api: {wanted}")
    return Listing(allowed, api_row)


def api_row(spec: CommandSpec) -> Row:
    return {
        "name": spec.name,
        "description": "",
        "isasync": spec.is_async,
        "related": "",
        "params": [
            {
                "name": parameter.name,
                "description": "",
                "type": _TYPES.get(parameter.kind, parameter.kind),
                "length": 255,
                "required": parameter.required,
            }
            for parameter in spec.params.values()
        ],
        "response": [_field_row(name, shape) for name, shape in spec.response.items()],
    }


def _field_row(name: str, shape: Any) -> Row:
    if isinstance(shape, str):
        return {"name": name, "description": "", "type": _TYPES.get(shape, shape)}
    kind = "list" if isinstance(shape, list) else "responseobject"
    inner = shape[0] if isinstance(shape, list) else shape
    return {
        "name": name,
        "description": "",
        "type": kind,
        "response": [_field_row(key, value) for key, value in inner.items()],
    }
