"""Parameters of a call: unpacked, bound to the catalogue's types, and resolved to records.

Source: ParamUnpackWorker, ParamProcessWorker, BaseCmd.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.catalogue import CommandSpec, Parameter
from gceshim.simulator.registry import Handler
from gceshim.simulator.state import State

R = TypeVar("R", bound=model.Record)

MAX_LENGTH = 255
MAX_LENGTHS = {"userdata": 1_048_576, "publickey": 5_120, "params": 4_096, "displaytext": 4_096, "signature": 4_096}
ADMIN_ONLY = frozenset({"hostid", "podid", "clusterid", "displayvm", "fordisplay", "storageid", "customid"})

_ARRAY = re.compile(r"([^\[\].]+)\[(-?\d{1,9})\]\.([^\[\]]+)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NUMBER = re.compile(r"[+-]?\d{1,19}")
_FLOAT = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")

#: Parameters that name records, wherever they occur. None: a kind the simulated cloud has none of.
ENTITIES: Mapping[str, type[model.Record] | None] = {
    "zoneid": model.Zone,
    "serviceofferingid": model.ServiceOffering,
    "diskofferingid": model.DiskOffering,
    "overridediskofferingid": model.DiskOffering,
    "networkofferingid": model.NetworkOffering,
    "vpcofferingid": model.VpcOffering,
    "templateid": model.Template,
    "isoid": model.Template,
    "networkid": model.Network,
    "networkids": model.Network,
    "associatednetworkid": model.Network,
    "vpcid": model.Vpc,
    "aclid": model.AclList,
    "virtualmachineid": model.Vm,
    "nicid": model.Nic,
    "volumeid": model.Volume,
    "volumeids": model.Volume,
    "ipaddressid": model.PublicIp,
    "securitygroupid": model.SecurityGroup,
    "securitygroupids": model.SecurityGroup,
    "userdataid": model.UserData,
    "ostypeid": model.OsType,
    "oscategoryid": model.OsCategory,
    "hostid": model.Host,
    "domainid": model.Domain,
    "projectid": model.Project,
    "accountid": model.Account,
    "userid": model.User,
    "snapshotid": None,
    "podid": None,
    "clusterid": None,
    "storageid": None,
    "imagestoreid": None,
    "physicalnetworkid": None,
    "affinitygroupid": None,
    "affinitygroupids": None,
    "autoscalevmgroupid": None,
    "backupofferingid": None,
    "extensionid": None,
    "gatewayid": None,
    "groupid": None,
    "parenttemplateid": None,
    "projectroleid": None,
    "vgpuprofileid": None,
    "vlanid": None,
    "bgppeerids": None,
}


class AllProjects:
    """The value of ``projectid=-1``."""


ALL_PROJECTS = AllProjects()


def unpack(raw: Mapping[str, str]) -> dict[str, Any]:
    """Names in lower case; ``name[i].field=value`` gathered to ``name`` = list of field maps, in order of ``i``.

    :raises ApiError: 430 for an array name that cannot be read, 431 for control characters.
    """
    plain: dict[str, Any] = {}
    arrays: dict[str, dict[int, dict[str, str]]] = {}
    for name, value in raw.items():
        if _CONTROL.search(value):
            raise errors.bad_parameter(
                f"Received value containing illegal ASCII non-printable characters for parameter {name}"
            )
        if "[" not in name:
            plain.setdefault(name.lower(), value)
            continue
        match = _ARRAY.fullmatch(name)
        if match is None:
            raise errors.ApiError(
                430,
                f"Unable to decode parameter {name}; if specifying an object array, please use"
                " parameter[index].field=XXX, e.g. userGroupList[0].group=httpGroup",
            )
        arrays.setdefault(match[1].lower(), {}).setdefault(int(match[2]), {})[match[3]] = value
    for name, items in arrays.items():
        plain[name] = [items[index] for index in sorted(items)]
    return plain


class Binder:
    """Binds unpacked values to the parameters of one command."""

    def __init__(self, spec: CommandSpec, handler: Handler, state: State) -> None:
        self._spec = spec
        self._handler = handler
        self._state = state

    def bind(self, values: Mapping[str, Any], *, is_admin: bool) -> "Arguments":
        """Typed values of all known parameters that were given.

        :raises ApiError: 431 for a missing, unreadable, over-long or dangling value.
        """
        bound: dict[str, Any] = {}
        for name, parameter in self._spec.params.items():
            if name in ADMIN_ONLY and not is_admin:
                continue
            if name not in values:
                if parameter.required:
                    raise errors.bad_parameter(
                        f"Unable to execute API command {self._spec.name.lower()} due to missing parameter {name}"
                    )
                continue
            bound[name] = self._read(parameter, values[name])
        return Arguments(self._spec.name, bound)

    def _read(self, parameter: Parameter, value: Any) -> Any:
        name, kind = parameter.name, parameter.kind
        if kind in ("map", "list<map>"):
            if not isinstance(value, list):
                raise errors.unreadable(self._spec.name, name, str(value))
            return value
        if isinstance(value, list):
            raise errors.unreadable(self._spec.name, name, str(value))
        if kind == "bool":
            return value.lower() == "true"
        if kind in ("int", "long", "float"):
            return self._number(name, kind, value)
        entity = self._entity_kind(name)
        if kind == "list":
            items = [item.strip() for item in value.split(",") if item.strip()]
            for item in items:
                self._check_length(name, item)
            return items if entity is False else [self._entity(entity, name, item) for item in items]
        self._check_length(name, value)
        if entity is False:
            return value
        if name == "projectid" and value == "-1":
            return ALL_PROJECTS
        return self._entity(entity, name, value)

    def _number(self, name: str, kind: str, value: str) -> int | float:
        text = value.strip()
        if kind == "float" and _FLOAT.fullmatch(text):
            return float(text)
        bits = 31 if kind == "int" else 63
        if kind != "float" and _NUMBER.fullmatch(text) and -(2**bits) <= int(text) < 2**bits:
            return int(text)
        raise errors.unreadable(self._spec.name, name, value)

    def _check_length(self, name: str, value: str) -> None:
        longest = MAX_LENGTHS.get(name, MAX_LENGTH)
        if len(value) > longest:
            raise errors.bad_parameter(f"Value greater than max allowed length {longest} for param: {name}")

    def _entity_kind(self, name: str) -> type[model.Record] | Literal[False] | None:
        if name in self._handler.entities:
            return self._handler.entities[name] or False
        if name in ("id", "ids") and self._handler.subject is not None:
            return self._handler.subject
        return ENTITIES.get(name, False)

    def _entity(self, kind: type[model.Record] | Literal[False] | None, name: str, value: str) -> model.Record:
        record = self._state.find(kind, value.lower()) if kind else None
        if record is None:
            raise errors.no_such_entity(self._spec.name, name, value)
        return record


class Arguments:
    """The bound parameters of a call, read by type. An absent parameter is None (or empty, for lists and maps)."""

    def __init__(self, command: str, values: Mapping[str, Any]) -> None:
        self._command = command
        self._values = values

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str | None:
        value: str | None = self._values.get(name)
        return value

    def need_text(self, name: str) -> str:
        """A required text; the binder has seen to it that it is there."""
        value: str = self._values[name]
        return value

    def number(self, name: str) -> int | None:
        value: int | None = self._values.get(name)
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self._values.get(name)
        return value

    def texts(self, name: str) -> list[str]:
        value: list[str] = self._values.get(name, [])
        return value

    def maps(self, name: str) -> list[dict[str, str]]:
        value: list[dict[str, str]] = self._values.get(name, [])
        return value

    def details(self, name: str) -> dict[str, str]:
        """A flat map (``details[0].key=value``): all its entries in one."""
        merged: dict[str, str] = {}
        for item in self.maps(name):
            merged.update(item)
        return merged

    def one(self, name: str, kind: type[R]) -> R | None:
        """The record that a parameter names, removed or not."""
        value = self._values.get(name)
        return value if isinstance(value, kind) else None

    def need(self, name: str, kind: type[R]) -> R:
        """As ``one``, for a required parameter.

        :raises ApiError: 431 if it is missing after all.
        """
        value = self.one(name, kind)
        if value is None:
            raise errors.bad_parameter(
                f"Unable to execute API command {self._command.lower()} due to missing parameter {name}"
            )
        return value

    def many(self, name: str, kind: type[R]) -> list[R]:
        return [value for value in self._values.get(name, []) if isinstance(value, kind)]

    @property
    def all_projects(self) -> bool:
        return self._values.get("projectid") is ALL_PROJECTS

    def records(self) -> list[tuple[str, model.Record]]:
        """Every record that some parameter names, with the parameter's name."""
        found = []
        for name, value in self._values.items():
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, model.Record):
                    found.append((name, item))
        return found
