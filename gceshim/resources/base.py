"""
What all collections share: binding to the discovery document, entering a call, showing objects, lists, mutations.

A resource module declares a subclass of `Collection`. Its `@method`s are bound to the methods of the discovery
document by name; a name that is not in the document fails at import. Its `@workflow`s run inside operations.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar

from gceshim.drivers.base import Driver
from gceshim.drivers.errors import DriverError
from gceshim.model import Credentials, Page, Tenant
from gceshim.operations.engine import Engine
from gceshim.operations.errors import OperationNotFound, OperationRunning, RequestIdReused, ShuttingDown
from gceshim.operations.record import Operation, OperationWarning
from gceshim.protocol import errors, paging
from gceshim.protocol.call import Call as WireCall
from gceshim.protocol.discovery import COMPUTE, Document
from gceshim.protocol.kinds import Kinds
from gceshim.protocol.sources import Keyed, Numbered, Source
from gceshim.resources import errors as resource_errors
from gceshim.resources.bodies import values
from gceshim.resources.call import Call
from gceshim.resources.values import present, timestamp
from gceshim.stores.base import Store
from gceshim.stores.errors import StoreError

Body = dict[str, Any]
T = TypeVar("T")
N = TypeVar("N", bound="Named")
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
Workflow = Callable[..., Awaitable[Any]]

SCOPE_PATH: Final = {"zone": "zones", "region": "regions"}
_METHOD: Final = "gce_method"
_WORKFLOW: Final = "gce_workflow"
_NOBODY: Final = Tenant(subject="", credentials=Credentials("", ""), project="", owner="")


def document(api: str = COMPUTE) -> Document:
    """The discovery document of an API, read once for the process."""
    return _document(api)


@functools.cache
def _document(api: str) -> Document:
    return Document(api)


def method(function: F) -> F:
    """Mark a coroutine as the GCE method of the same name: `aggregated_list` is `aggregatedList`."""
    head, *rest = function.__name__.split("_")
    setattr(function, _METHOD, head + "".join(word.capitalize() for word in rest))
    return function


def workflow(function: F) -> F:
    """Mark a coroutine as what an operation runs: `(self, steps, *arguments)`, its arguments model objects."""
    setattr(function, _WORKFLOW, function.__name__)
    return function


@dataclass(frozen=True, slots=True)
class Services:
    """What collections work with."""

    driver: Driver
    engine: Engine
    store: Store
    kinds: Kinds
    linger_seconds: float = 0.0


class Collection:
    """
    One collection of the API.

    Class keywords: `name` of the collection in the document of the `api`; `scope` of what it holds ("zone", "region",
    "global", or "" for projects, zones and regions themselves); `needs`, the driver capabilities without which it is
    not there.

    `refused`: fields of a body that get a 400; `overridden`: fields that are accepted with a warning in the
    operation. Both as `disks[].interface`, relative to the body, and only when they hold something. `fields`: which
    body field an attribute of the spec comes from.
    """

    collection: ClassVar[str]
    scope: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    methods: ClassVar[Mapping[str, str]]
    refused: ClassVar[Mapping[str, str]] = {}
    overridden: ClassVar[Mapping[str, str]] = {}
    fields: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, *, name: str, scope: str, needs: Sequence[str] = (), api: str = COMPUTE) -> None:
        cls.collection, cls.scope, cls.needs = name, scope, tuple(needs)
        marked = {key: getattr(value, _METHOD, None) for key, value in vars(cls).items()}
        cls.methods = {document(api).method(f"{api}.{name}.{gce}").id: key for key, gce in marked.items() if gce}

    def __init__(self, services: Services) -> None:
        self.driver = services.driver
        self.engine = services.engine
        self.store = services.store
        self._kinds = services.kinds
        self._linger_seconds = services.linger_seconds
        for key in vars(type(self)):
            if getattr(getattr(self, key), _WORKFLOW, None):
                self.engine.register(f"{self.collection}.{key}", getattr(self, key))

    def table(self) -> Mapping[str, Callable[[WireCall], Awaitable[Body | None]]]:
        """The coroutine for each method id."""
        return {method_id: functools.partial(self._run, getattr(self, key)) for method_id, key in self.methods.items()}

    def show(self, call: Call, schema: str, place: Sequence[str], body: Mapping[str, Any]) -> Body:
        """
        A resource as it is answered: what is known of it, its link and its kinds.

        :param place: path within the project, `("zones", "z", "instances", "i")`.
        :param body: values of None are left out.
        """
        shown = present(body)
        shown["selfLink"] = call.url(*place)
        return self._kinds.add(schema, shown)

    async def listing(self, call: Call, source: Source[T], shown: Callable[[T], Body]) -> Body:
        """The answer of a `list`: one page of the source, filtered."""
        items, token = await self._page(call, source, shown)
        body: Body = self._envelope(call, token)
        if items:
            body["items"] = items
        return body

    async def _page(self, call: Call, source: Source[T], shown: Callable[[T], Body]) -> tuple[list[Body], str | None]:
        """
        One page, by name as GCE's are; a backend that pages in an order of its own gives only the pages in that.
        """
        items, token = await paging.collect(call.wire, source, shown)
        if isinstance(source, Numbered) and not call.params.get("orderBy"):
            items.sort(key=lambda item: str(item["name"]))
        return items, token

    async def aggregated(
        self,
        call: Call,
        source: Source[T],
        shown: Callable[[T], Body],
        key: str,
        unreachable: Mapping[str, str] | None = None,
    ) -> Body:
        """
        The answer of an `aggregatedList`: the page's items by their zone or region.

        Each scope in which there could be some is there, those without with GCE's warning; with `includeAllScopes`
        all scopes are. Source: GCE `includeAllScopes`.

        :param unreachable: zones whose items are not in the source, and why; warned of, and named in `unreachables`.
        """
        items, token = await self._page(call, source, shown)
        scopes = {name: _no_results(name) for name in await self._scopes(call)}
        lost = {f"zones/{zone}": why for zone, why in (unreachable or {}).items()}
        scopes.update({name: _unreachable(name, why) for name, why in lost.items()})
        for item in items:
            scope = _scope_of(item)
            if key not in scopes.setdefault(scope, {}):
                scopes[scope] = {key: []}
            scopes[scope][key].append(item)
        body: Body = {**self._envelope(call, token), "items": scopes}
        if lost:
            body["unreachables"] = [call.path(*name.split("/")) for name in sorted(lost)]
        return body

    async def begin(
        self,
        call: Call,
        run: Workflow,
        *arguments: object,
        target: Sequence[str],
        target_id: int | None = None,
        group_id: str = "",
    ) -> Body:
        """
        Start a mutation and answer with its operation.

        :param run: one of the collection's workflows.
        :param target: path of what is changed within the project; what is created, for an insert.
        """
        operation = await self.engine.begin(
            call.tenant,
            f"{self.collection}.{run.__name__}",
            arguments,
            type=call.wire.method.name,
            scope_kind="zone" if call.zone else "region" if call.region else "global",
            scope=call.zone or call.region,
            target=call.path(*target),
            target_id=target_id,
            user=call.wire.caller.email,
            request_id=call.params.get("requestId", ""),
            request_digest=_digest(call),
            group_id=group_id,
            warnings=self._warnings(call),
            wait_seconds=self._linger(call),
        )
        return self.show_operation(call, operation)

    def show_operation(self, call: Call, operation: Operation) -> Body:
        """An operation as it is answered, in whichever of its scopes."""
        place = (SCOPE_PATH[operation.scope_kind], operation.scope) if operation.scope else ("global",)
        body = operation_body(call, operation)
        return self.show(call, "Operation", (*place, "operations", operation.name), body)

    def tenant_project(self, call: WireCall) -> str:
        """The project in which the backend is asked; collections that show public projects decide otherwise."""
        return call.project

    async def _run(self, function: Callable[[Call], Awaitable[Body | None]], wire: WireCall) -> Body | None:
        """The edge between wire and resource: whose call it is, where, and what is wrong with it."""
        call = Call(wire, _NOBODY)
        try:
            call = await self._enter(wire)
            self._refuse(call)
            return await self._repeated(call) or await function(call)
        except DriverError as exc:
            raise resource_errors.translate(exc, call, self.fields) from exc
        except OperationNotFound as exc:
            raise errors.not_found(wire.resource_path.removesuffix("/wait")) from exc
        except OperationRunning as exc:
            raise errors.ResourceNotReady(f"The resource '{wire.resource_path}' is not ready") from exc
        except RequestIdReused as exc:
            value = errors.invalid_value("requestId", wire.params.get("requestId"), "It was used for another request.")
            raise errors.Invalid(value) from exc
        except ShuttingDown as exc:
            raise errors.BackendError(exc.message) from exc
        except StoreError as exc:
            raise errors.BackendError("The server's store is not available; try again.", detail=str(exc)) from exc

    async def _enter(self, wire: WireCall) -> Call:
        credentials = wire.caller.credentials
        if not isinstance(credentials, Credentials):
            raise errors.InvalidCredentials(detail="the authenticator gave no backend credentials")
        tenant = await self.driver.identity.tenant(wire.caller.subject, credentials, self.tenant_project(wire))
        zone = region = ""
        if self.scope == "zone" and wire.zone:
            zone = (await self.driver.locations.zone(tenant, wire.zone)).name
        elif self.scope == "region" and wire.region:
            region = (await self.driver.locations.region(tenant, wire.region)).name
        return Call(wire, tenant, zone, region)

    def _refuse(self, call: Call) -> None:
        if not call.body:
            return
        for pattern, why in self.refused.items():
            for path, value in values(call.body, pattern):
                raise errors.Invalid(errors.invalid_value(f"resource.{path}", value, why))

    async def _repeated(self, call: Call) -> Body | None:
        """
        The operation that the same request began when it was sent before, by its `requestId`.

        Source: "requestId" of GCE's mutations: a client that lost the answer asks again, and the machine that it
        asked for is there by then, or the one to delete is gone.
        """
        request_id = call.params.get("requestId", "")
        if not request_id:
            return None
        operation = await self.engine.begun(
            call.tenant.owner, request_id, _digest(call), wait_seconds=self._linger(call)
        )
        return None if operation is None else self.show_operation(call, operation)

    def _linger(self, call: Call) -> float:
        return self._linger_seconds if call.wire.wait_seconds is None else call.wire.wait_seconds

    def _warnings(self, call: Call) -> list[OperationWarning]:
        return [
            OperationWarning(
                "FIELD_VALUE_OVERRIDEN",
                f"The value of 'resource.{path}' was overridden. {why}",
                {"field_name": f"resource.{path}"},
            )
            for pattern, why in self.overridden.items()
            for path, _ in values(call.body, pattern)
        ]

    async def _scopes(self, call: Call) -> Iterable[str]:
        everything = call.params.get("includeAllScopes") or self.scope == "global"
        found: list[str] = ["global"] if everything else []
        if "locations" not in self.driver.capabilities():
            return found
        if everything or self.scope == "region":
            found += [f"regions/{region.name}" for region in await self.driver.locations.regions(call.tenant)]
        if everything or self.scope == "zone":
            found += [f"zones/{zone.name}" for zone in await self.driver.locations.zones(call.tenant)]
        return found

    def _envelope(self, call: Call, token: str | None) -> Body:
        path = call.wire.resource_path
        body: Body = {"id": path, "selfLink": call.wire.links.api_url(*path.split("/"))}
        if token is not None:
            body["nextPageToken"] = token
        # Before the items are in it: those have theirs.
        return self._kinds.add(str(call.wire.method.response), body)


def operation_body(call: Call, operation: Operation) -> Body:
    """
    An operation in GCE's words, less what the base adds.

    Source: what each client needs of an operation (`zone` or `region` exactly when it has one, both HTTP members of a
    failure, ids as strings).
    """
    failed = operation.http_status is not None
    target = call.wire.links.api_url(*operation.target.split("/"))
    return {
        "id": str(operation.id),
        "name": operation.name,
        "operationType": operation.type,
        "status": operation.status.value,
        "progress": operation.progress,
        "user": operation.user,
        "targetLink": target,
        "targetId": None if operation.target_id is None else str(operation.target_id),
        "clientOperationId": operation.client_request_id or None,
        "operationGroupId": operation.group_id or None,
        "insertTime": timestamp(operation.inserted),
        "startTime": timestamp(operation.started),
        "endTime": timestamp(operation.ended),
        "zone": call.url("zones", operation.scope) if operation.scope_kind == "zone" else None,
        "region": call.url("regions", operation.scope) if operation.scope_kind == "region" else None,
        "error": {"errors": [{"code": e.code, "message": e.message} for e in operation.errors]} if failed else None,
        "httpErrorStatusCode": operation.http_status,
        "httpErrorMessage": operation.http_message if failed else None,
        "warnings": [_warning(warning) for warning in operation.warnings] or None,
    }


class Named(Protocol):
    """What has a name that is its own in the list that it is in."""

    @property
    def name(self) -> str: ...


def pages(items: Sequence[N]) -> Keyed[N]:
    """A short list that is at hand whole, in pages by name."""
    return keyed_pages(items, lambda item: item.name, by_name=True)


def keyed_pages(items: Sequence[T], key: Callable[[T], str], *, by_name: bool = False) -> Keyed[T]:
    """The same of items whose names are their own in a scope only. :param key: which none shares with another."""
    ordered = sorted(items, key=key)
    keys = [key(item) for item in ordered]

    async def fetch(after: str, length: int) -> Page[T]:
        start = bisect.bisect_right(keys, after) if after else 0
        return Page(ordered[start : start + length], more=start + length < len(ordered))

    return Keyed(fetch, key, by_name=by_name)


def _warning(warning: OperationWarning) -> Body:
    data = [{"key": key, "value": value} for key, value in warning.data.items()]
    return {"code": warning.code, "message": warning.message, "data": data}


def _scope_of(item: Body) -> str:
    """`zones/z`, `regions/r` or `global`, from the link in the item itself."""
    for key, path in SCOPE_PATH.items():
        if key in item:
            return f"{path}/{item[key].rpartition('/')[2]}"
    return "global"


def _no_results(scope: str) -> Body:
    return {
        "warning": {
            "code": "NO_RESULTS_ON_PAGE",
            "message": f"There are no results for scope '{scope}' on this page.",
            "data": [{"key": "scope", "value": scope}],
        }
    }


def _unreachable(scope: str, why: str) -> Body:
    return {"warning": {"code": "UNREACHABLE", "message": why, "data": [{"key": "scope", "value": scope}]}}


def _digest(call: Call) -> str:
    """What makes two requests the same for `requestId`: method, parameters and body."""
    parameters = {name: value for name, value in call.params.items() if name != "requestId"}
    text = json.dumps([call.wire.method.id, parameters, call.body], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
