"""
What a driver may raise, and nothing else.

    DriverError
      NotFound  AlreadyExists  Invalid  InUse  NotReady  Changed  Forbidden  Unauthenticated  QuotaExceeded
      CapacityExhausted  Unsupported  Failed
      Unavailable
        Timeout  Overloaded
          Throttled (an Overloaded)
"""

from __future__ import annotations


class DriverError(Exception):
    """
    A driver could not do what it was asked.

    `message` reaches the caller: the backend's own words where it has any. `detail` reaches the log only: hosts,
    commands, job ids; never keys, signatures or tokens. `kind` and `name` say which object is meant ("instance",
    "machine_type", "image", "network", ...), where one is. `field` names the attribute of the spec at fault, as
    `machine_type` or `interfaces[0].network`.
    """

    def __init__(self, message: str, *, detail: str = "", kind: str = "", name: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.kind = kind
        self.name = name
        self.field = field


class NotFound(DriverError):
    """The object named by `kind` and `name` does not exist, or not for this tenant."""


class AlreadyExists(DriverError):
    """The tenant has such an object already."""


class Invalid(DriverError):
    """The backend refuses a value."""


class InUse(DriverError):
    """Something else uses the object."""


class NotReady(DriverError):
    """The object is in a state that does not allow this now."""


class Changed(DriverError):
    """Someone else has changed the object since the caller read it."""


class Forbidden(DriverError):
    """The backend's access control refuses."""


class Unauthenticated(DriverError):
    """The backend does not accept the tenant's credentials."""


class QuotaExceeded(DriverError):
    """A limit of the tenant is reached."""


class CapacityExhausted(DriverError):
    """The backend has no room: hosts, storage or addresses."""


class Unsupported(DriverError):
    """This backend, or this zone of it, cannot do it at all."""


class Unavailable(DriverError):
    """The backend cannot be reached, or answers nonsense; whether the call took effect is not known."""


class Timeout(Unavailable):
    """The backend gave no answer in time; whether the call took effect is not known."""


class Overloaded(Unavailable):
    """Too much is under way to the backend for this call to begin in time: it had no effect and may be made again."""


class Throttled(Overloaded):
    """The backend was asked too often by this tenant, and did nothing; it may be asked again, but not at once."""


class Failed(DriverError):
    """The backend tried and failed for a reason of its own."""


BY_NAME = {
    cls.__name__: cls
    for cls in (
        NotFound,
        AlreadyExists,
        Invalid,
        InUse,
        NotReady,
        Changed,
        Forbidden,
        Unauthenticated,
        QuotaExceeded,
        CapacityExhausted,
        Unsupported,
        Unavailable,
        Timeout,
        Overloaded,
        Throttled,
        Failed,
    )
}


def from_job(error: str, message: str, detail: str) -> DriverError:
    """The error that a failed job stands for (`Job.error` is one of `BY_NAME`)."""
    return BY_NAME[error](message, detail=detail)
