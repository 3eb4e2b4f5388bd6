"""
An operation as the engine sees it, its journal, and the way into and out of the store.

The whole of it is one record of the store, so that each change is one compare-and-set of one version.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from cattrs.preconf.json import make_converter

from gceshim.drivers.errors import BY_NAME, DriverError, Failed
from gceshim.stores.base import EPOCH, OperationRecord

SCHEMA: Final = 1
"""Version of `Operation` in a record's body."""


class Status(enum.Enum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class OperationError:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class OperationWarning:
    code: str
    message: str
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """How an operation failed, in the words of the API above: an error code, and an HTTP status with its message."""

    code: str
    message: str
    http_status: int
    http_message: str


@dataclass(frozen=True, slots=True)
class StepError:
    """A driver error by class name, with its texts."""

    error: str
    message: str
    detail: str = ""
    kind: str = ""
    name: str = ""
    field: str = ""


class StepState(enum.Enum):
    STARTED = "started"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One journalled step. `job_id` "": none, or not known."""

    name: str
    state: StepState = StepState.STARTED
    job_id: str = ""
    object_id: str = ""
    result: Any = field(default=None, repr=False)
    error: StepError | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """
    A mutation that was accepted, from then until it expires.

    `owner` and `subject`: `Tenant.owner` and `Tenant.subject`. `project`: as the caller wrote it. `user`: the e-mail
    address shown. `type`: "insert", "delete", "start", ... `scope_kind`: "zone", "region" or "global"; `scope`: its
    name, "" for global. `target`: a relative path (`projects/p/zones/z/instances/n`). `progress`: 0 to 100.
    `workflow` and `arguments`: what to run, the latter as JSON, emptied at the end. `request_digest`: of the request
    that `client_request_id` came with.
    """

    name: str
    id: int
    owner: str
    subject: str
    project: str
    user: str
    type: str
    scope_kind: str
    scope: str
    target: str
    target_id: int | None
    inserted: datetime
    workflow: str
    arguments: tuple[Any, ...] = field(default=(), repr=False)
    client_request_id: str = ""
    request_digest: str = ""
    group_id: str = ""
    status: Status = Status.PENDING
    progress: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    errors: tuple[OperationError, ...] = ()
    http_status: int | None = None
    http_message: str = ""
    warnings: tuple[OperationWarning, ...] = ()
    journal: tuple[Step, ...] = field(default=(), repr=False)
    lease_holder: str = ""
    lease_until: datetime = EPOCH
    expires: datetime | None = None
    version: int = 1

    @property
    def done(self) -> bool:
        return self.status is Status.DONE


def new_name(now: datetime) -> str:
    """
    A name in GCE's form, `operation-<ms since 1970>-<13 hex>-<8 hex>-<8 hex>`.

    Names sort in the order of their times; 116 random bits make them unique and not to be guessed.
    """
    milliseconds = int(now.timestamp() * 1000)
    digits = secrets.token_hex(15)
    return f"operation-{milliseconds}-{digits[:13]}-{digits[13:21]}-{digits[21:29]}"


def new_id() -> int:
    """A random numeric id, 1 to 2**63 - 1."""
    return secrets.randbelow(2**63 - 1) + 1


def error_name(exc: DriverError) -> str:
    """The name of the error among those that drivers may raise, also for a class that a driver derived from one."""
    return next((cls.__name__ for cls in type(exc).__mro__ if BY_NAME.get(cls.__name__) is cls), Failed.__name__)


_KEPT_BESIDE: Final = ("lease_holder", "lease_until", "expires", "version")
"""Fields that the store keeps beside the body, because it changes them by itself."""


_CONVERTER: Final = make_converter(omit_if_default=True)


def to_record(operation: Operation) -> OperationRecord:
    """The operation as the store keeps it."""
    fields = _CONVERTER.unstructure(operation)
    return OperationRecord(
        name=operation.name,
        id=operation.id,
        owner=operation.owner,
        scope_kind=operation.scope_kind,
        scope=operation.scope,
        request_id=operation.client_request_id,
        inserted=operation.inserted,
        done=operation.done,
        lease_holder=operation.lease_holder,
        lease_until=operation.lease_until,
        expires=operation.expires,
        body={"schema": SCHEMA, **{key: value for key, value in fields.items() if key not in _KEPT_BESIDE}},
        version=operation.version,
    )


def from_record(record: OperationRecord) -> Operation:
    """The operation that the store kept."""
    operation = _CONVERTER.structure(record.body, Operation)
    return replace(
        operation,
        lease_holder=record.lease_holder,
        lease_until=record.lease_until,
        expires=record.expires,
        version=record.version,
    )
