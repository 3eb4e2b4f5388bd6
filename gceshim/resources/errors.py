"""
What a driver's error is in GCE's words: one table, and the sentences for the common cases.

Used for replies (`translate`) and for operations that failed (`explain`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gceshim.drivers import errors as driver_errors
from gceshim.operations.record import Failure, Operation
from gceshim.protocol import errors
from gceshim.protocol.errors import ApiError
from gceshim.resources.call import Call

FROM_DRIVER: Final[Mapping[type[driver_errors.DriverError], type[ApiError]]] = {
    driver_errors.NotFound: errors.NotFound,
    driver_errors.AlreadyExists: errors.AlreadyExists,
    driver_errors.Invalid: errors.Invalid,
    driver_errors.InUse: errors.ResourceInUse,
    driver_errors.NotReady: errors.ResourceNotReady,
    driver_errors.Changed: errors.ConditionNotMet,
    driver_errors.Forbidden: errors.Forbidden,
    driver_errors.Unauthenticated: errors.InvalidCredentials,
    driver_errors.QuotaExceeded: errors.QuotaExceeded,
    driver_errors.CapacityExhausted: errors.ResourcePoolExhausted,
    driver_errors.Unsupported: errors.UnsupportedRequest,
    driver_errors.Unavailable: errors.BackendError,
    driver_errors.Timeout: errors.GatewayTimeout,
    driver_errors.Overloaded: errors.BackendError,
    driver_errors.Throttled: errors.RateLimitExceeded,
    driver_errors.Failed: errors.InternalError,
}

COLLECTIONS: Final[Mapping[str, str]] = {
    "zone": "zones",
    "region": "regions",
    "machine_type": "machineTypes",
    "image": "images",
    "image_family": "images/family",
    "network": "networks",
    "subnetwork": "subnetworks",
    "instance": "instances",
    "disk": "disks",
    "disk_type": "diskTypes",
    "firewall": "firewalls",
}
_ZONAL: Final = frozenset({"instance", "disk", "disk_type", "machine_type"})
_GLOBAL: Final = frozenset({"network", "firewall"})
SINGULAR: Final[Mapping[str, str]] = {
    "machine_type": "machineType",
    "image_family": "image family",
    "disk_type": "diskType",
}


def translate(exc: driver_errors.DriverError, call: Call, fields: Mapping[str, str]) -> ApiError:
    """
    The reply for a driver's error.

    :param fields: which field of the body each attribute of the spec came from; `[]` stands for any index, and `[+1]`
        for the next.
    """
    if isinstance(exc, driver_errors.AlreadyExists):
        return errors.already_exists(_path(exc, call))
    if _general(exc.field) in fields:
        return _field_error(exc, call, fields)
    if isinstance(exc, driver_errors.NotFound):
        return _not_found(exc, call)
    return _plain(exc)


def explain(exc: driver_errors.DriverError, operation: Operation) -> Failure:
    """What a failed operation says of a driver's error: in GCE's sentence where it has one and the object is known."""
    error = _plain(exc)
    place = _place_in(operation, exc.kind)
    if place and exc.name:
        path = "/".join(("projects", operation.project, *place, COLLECTIONS[exc.kind], exc.name))
        if isinstance(exc, driver_errors.AlreadyExists):
            error = errors.already_exists(path)
        elif isinstance(exc, driver_errors.NotFound):
            error = errors.not_found(path)
    return Failure(error.code, error.message, error.status, error.message)


def _plain(exc: driver_errors.DriverError) -> ApiError:
    cls = next(FROM_DRIVER[kind] for kind in type(exc).__mro__ if kind in FROM_DRIVER)
    return cls(exc.message, detail=exc.detail)


def _place_in(operation: Operation, kind: str) -> tuple[str, ...]:
    """Where in the operation's project objects of a kind are; () where the operation does not tell."""
    if kind in _GLOBAL:
        return ("global",)
    return ("zones", operation.scope) if kind in _ZONAL and operation.scope_kind == "zone" else ()


def _not_found(exc: driver_errors.NotFound, call: Call) -> ApiError:
    if exc.kind == "project":
        return errors.NotFound(f"Failed to find project {exc.name}", detail=exc.detail)
    return errors.not_found(_path(exc, call))


def _path(exc: driver_errors.DriverError, call: Call) -> str:
    """`projects/p/zones/z/instances/i` for the object that the error is about."""
    if exc.kind in ("zone", "region"):
        return call.wire.links.path(COLLECTIONS[exc.kind], exc.name)
    collection = COLLECTIONS.get(exc.kind, "")
    if collection and exc.name:
        place = ("zones", call.zone) if call.zone else ("regions", call.region) if call.region else ("global",)
        return call.wire.links.path(*place, collection, exc.name)
    return call.wire.resource_path


def _field_error(exc: driver_errors.DriverError, call: Call, fields: Mapping[str, str]) -> ApiError:
    path = _body_path(exc.field, fields)
    value = _value_at(call.wire.body or {}, path)
    if isinstance(exc, driver_errors.NotFound):
        noun = SINGULAR.get(exc.kind, exc.kind)
        why = f"The referenced {noun} resource cannot be found."
        return errors.ReferenceNotFound(errors.invalid_value(path, value or exc.name, why), detail=exc.detail)
    cls = type(_plain(exc))
    return cls(errors.invalid_value(path, value, exc.message), detail=exc.detail)


def _body_path(attribute: str, fields: Mapping[str, str]) -> str:
    """
    `interfaces[1].network` by way of `networkInterfaces[].network` is `resource.networkInterfaces[1].network`.

    By way of `disks[+1].source` it would be the one after: `resource.disks[2].source`.
    """
    index = re.search(r"\[(\d+)\]", attribute)
    path = fields[_general(attribute)]
    if index:
        path = path.replace("[]", f"[{index[1]}]").replace("[+1]", f"[{int(index[1]) + 1}]")
    return f"resource.{path}"


def _general(attribute: str) -> str:
    return re.sub(r"\[\d+\]", "[]", attribute)


def _value_at(body: Mapping[str, Any], path: str) -> object:
    value: Any = body
    for name in re.findall(r"[A-Za-z0-9_]+", path)[1:]:
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (KeyError, IndexError, TypeError, ValueError):
            return ""
    return value if isinstance(value, str | int) else ""
