"""
Errors in GCE's form.

    ApiError
    +-- 400 Invalid, Required, ParseError, BadRequest, InvalidParameter, ReferenceNotFound, ResourceInUse,
    |       ResourceNotReady, UnsupportedRequest
    +-- 401 LoginRequired, InvalidCredentials
    +-- 403 Forbidden, InsufficientScopes, QuotaExceeded, AnswerTooLarge
    +-- 404 NotFound            405 MethodNotAllowed     408 RequestTimeout       409 AlreadyExists, OperationInProgress
    +-- 412 ConditionNotMet     413 RequestTooLarge      415 UnsupportedMediaType
    +-- 429 RateLimitExceeded   431 HeadersTooLarge
    +-- 500 InternalError       501 NotImplementedMethod 503 BackendError, ResourcePoolExhausted
    +-- 504 GatewayTimeout

`docs/errors.md` lists them all; a test compares the two.

Source: the error object of Google's JSON APIs and the error codes of the Compute Engine API.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

REALM: Final = "https://accounts.google.com/"
_ECHO_LIMIT: Final = 500

#: The canonical code of each status. Source: google.rpc.Code and its mapping to HTTP.
CANONICAL: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    431: "INVALID_ARGUMENT",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ApiError(Exception):
    """
    An error answered in GCE's form, as an HTTP reply or inside a failed Operation.

    A subclass fixes three words and adds no code. They are three vocabularies:
    `status` 404, `reason` "notFound", `code` "RESOURCE_NOT_FOUND".

    :param message: sent to the caller; gcloud shows nothing else, so it says what to do.
    :param detail: logged, never sent; without secrets all the same.
    :param location: the parameter or header at fault, when it is one.
    :param location_type: "parameter" or "header".
    :param headers: HTTP headers that this error needs, such as Allow.
    """

    status: ClassVar[int] = 500
    reason: ClassVar[str] = "internalError"
    code: ClassVar[str] = "INTERNAL_ERROR"
    retry_after_seconds: ClassVar[int | None] = None
    """When to try again, unless `headers` say otherwise; None: not said."""

    def __init__(
        self,
        message: str,
        *,
        detail: str = "",
        location: str = "",
        location_type: str = "parameter",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.location = location
        self.location_type = location_type
        retry = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        self.headers: dict[str, str] = {**retry, **(headers or {})}

    def reply(self, *, canonical: bool = False) -> dict[str, Any]:
        """The body of an HTTP error reply; `canonical` adds the code that Google's newer APIs send."""
        item = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location:
            item |= {"location": self.location, "locationType": self.location_type}
        error: dict[str, Any] = {"code": self.status, "message": self.message, "errors": [item]}
        if canonical:
            error["status"] = CANONICAL[self.status]
        return {"error": error}

    def operation_fields(self) -> dict[str, Any]:
        """
        What a failed Operation carries beside its own fields.

        Both HTTP members are needed: google-cloud-compute takes an operation without them for a success.
        """
        item = {"code": self.code, "message": self.message}
        if self.location:
            item["location"] = self.location
        return {
            "error": {"errors": [item]},
            "httpErrorStatusCode": self.status,
            "httpErrorMessage": self.message,
        }


class Invalid(ApiError):
    """A member of the body, or a combination of members, is not acceptable."""

    status, reason, code = 400, "invalid", "INVALID_FIELD_VALUE"


class ReferenceNotFound(ApiError):
    """A member of the body refers to something that does not exist."""

    status, reason, code = 400, "invalid", "RESOURCE_NOT_FOUND"


class Required(ApiError):
    """Something that has to be sent is missing."""

    status, reason, code = 400, "required", "REQUIRED_FIELD_NOT_SPECIFIED"


class ParseError(ApiError):
    """The body is not the JSON it claims to be."""

    status, reason, code = 400, "parseError", "PARSE_ERROR"


class BadRequest(ApiError):
    """The HTTP request itself is malformed: its path, its encoding, its multipart envelope."""

    status, reason, code = 400, "badRequest", "BAD_REQUEST"


class InvalidParameter(ApiError):
    """A path or query parameter is not acceptable."""

    status, reason, code = 400, "invalidParameter", "INVALID_PARAMETER"


class ResourceInUse(ApiError):
    """Something else still needs the resource."""

    status, reason, code = 400, "resourceInUseByAnotherResource", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"


class ResourceNotReady(ApiError):
    """The resource is in a state in which this cannot be done to it, for now."""

    status, reason, code = 400, "resourceNotReady", "RESOURCE_NOT_READY"


class UnsupportedRequest(ApiError):
    """The cloud behind this server cannot do what is asked, however it is asked; no reason to try again."""

    status, reason, code = 400, "unsupportedOperation", "UNSUPPORTED_OPERATION"


class LoginRequired(ApiError):
    """The request has no credentials."""

    status, reason, code = 401, "required", "LOGIN_REQUIRED"

    def __init__(self, message: str = "Login Required", *, detail: str = "") -> None:
        challenge = {"WWW-Authenticate": f'Bearer realm="{REALM}"'}
        super().__init__(message, detail=detail, location="Authorization", location_type="header", headers=challenge)


class InvalidCredentials(ApiError):
    """The request's credentials are wrong, expired or revoked."""

    status, reason, code = 401, "authError", "AUTH_ERROR"

    def __init__(self, message: str = "Invalid Credentials", *, detail: str = "") -> None:
        challenge = {"WWW-Authenticate": f'Bearer realm="{REALM}", error="invalid_token"'}
        super().__init__(message, detail=detail, location="Authorization", location_type="header", headers=challenge)


class Forbidden(ApiError):
    """The caller may not do this."""

    status, reason, code = 403, "forbidden", "PERMISSIONS_ERROR"


class InsufficientScopes(ApiError):
    """
    The caller's token is not for this: it was asked for with other scopes.

    :param scopes: of which one would do.
    """

    status, reason, code = 403, "insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"

    def __init__(
        self,
        message: str = "Request had insufficient authentication scopes.",
        *,
        detail: str = "",
        scopes: Iterable[str] = (),
    ) -> None:
        needed = f'error="insufficient_scope", scope="{" ".join(sorted(scopes))}"'
        super().__init__(message, detail=detail, headers={"WWW-Authenticate": f'Bearer realm="{REALM}", {needed}'})


class QuotaExceeded(ApiError):
    """A limit of the project would be passed."""

    status, reason, code = 403, "quotaExceeded", "QUOTA_EXCEEDED"


class NotFound(ApiError):
    """What the path names does not exist."""

    status, reason, code = 404, "notFound", "RESOURCE_NOT_FOUND"


class MethodNotAllowed(ApiError):
    """The path exists, the HTTP method on it does not."""

    status, reason, code = 405, "httpMethodNotAllowed", "METHOD_NOT_ALLOWED"


class RequestTimeout(ApiError):
    """The request did not come to its end in time."""

    status, reason, code = 408, "requestTimeout", "TIMEOUT"


class AlreadyExists(ApiError):
    """The name is taken."""

    status, reason, code = 409, "alreadyExists", "RESOURCE_ALREADY_EXISTS"


class OperationInProgress(ApiError):
    """Another operation is changing the same thing; Terraform tries again."""

    status, reason, code = 409, "operationInProgress", "OPERATION_IN_PROGRESS"


class ConditionNotMet(ApiError):
    """The fingerprint sent is not that of the current state."""

    status, reason, code = 412, "conditionNotMet", "CONDITION_NOT_MET"


class RequestTooLarge(ApiError):
    """The body is larger than this server reads."""

    status, reason, code = 413, "uploadTooLarge", "REQUEST_TOO_LARGE"


class AnswerTooLarge(ApiError):
    """All parts of a batch together have more to answer than this server holds."""

    status, reason, code = 403, "responseTooLarge", "RESPONSE_TOO_LARGE"


class UnsupportedMediaType(ApiError):
    """The body is not declared as JSON."""

    status, reason, code = 415, "unsupportedMediaType", "UNSUPPORTED_MEDIA_TYPE"


class RateLimitExceeded(ApiError):
    """Too many requests, or too many at once. Many clients try again; some only when told when to."""

    status, reason, code = 429, "rateLimitExceeded", "RATE_LIMIT_EXCEEDED"
    retry_after_seconds = 1


class HeadersTooLarge(ApiError):
    """The request line and the headers are longer than this server reads."""

    status, reason, code = 431, "badRequest", "BAD_REQUEST"


class InternalError(ApiError):
    """A mistake of this server's."""

    status, reason, code = 500, "internalError", "INTERNAL_ERROR"


class NotImplementedMethod(ApiError):
    """The API has the method, this server with this driver has not."""

    status, reason, code = 501, "notImplemented", "UNSUPPORTED_OPERATION"


class BackendError(ApiError):
    """The cloud behind this server does not answer, or not sensibly."""

    status, reason, code = 503, "backendError", "BACKEND_ERROR"
    retry_after_seconds = 2


class ResourcePoolExhausted(ApiError):
    """The cloud behind this server has no room in this zone."""

    status, reason, code = 503, "resourcePoolExhausted", "ZONE_RESOURCE_POOL_EXHAUSTED"


class GatewayTimeout(ApiError):
    """The answer took longer than this server waits."""

    status, reason, code = 504, "gatewayTimeout", "TIMEOUT"


def shown(value: object) -> str:
    """A caller's value for the text of an error: whole when it is short."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _ECHO_LIMIT else text[:_ECHO_LIMIT] + "..."


def invalid_value(field: str, value: object, why: str) -> str:
    """GCE's sentence for a bad value: `Invalid value for field 'resource.name': 'X'. ` and the reason."""
    return f"Invalid value for field '{shown(field)}': '{shown(value)}'. {why}"


def must_match(field: str, value: object, pattern: str) -> str:
    """The same for a value that fails its pattern, which GCE prints inside a group of its own."""
    return invalid_value(field, value, f"Must be a match of regex '(?:{pattern})'")


def not_found(resource: str) -> NotFound:
    """GCE's 404 for a resource given as `projects/p/zones/z/instances/i`."""
    return NotFound(f"The resource '{resource}' was not found")


def already_exists(resource: str) -> AlreadyExists:
    """GCE's 409 for a resource given as `projects/p/zones/z/instances/i`."""
    return AlreadyExists(f"The resource '{resource}' already exists")
