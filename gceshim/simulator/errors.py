"""Errors as the management server reports them: HTTP status, ``cserrorcode`` and text.

Source: ApiErrorCode, CSExceptionErrorCode.
"""

UNAUTHORIZED_TEXT = "unable to verify user credentials and/or request signature"
HIDDEN_TEXT = "Internal error executing command, please contact your system administrator"
HIDDEN_CODES = frozenset({533, 534})

#: HTTP statuses that a reply of the API may have.
STATUSES = frozenset({200, 400, 401, 405, 411, 429, 430, 431, 432, *range(530, 538)})


class ApiError(Exception):
    """A refusal, as the caller sees it.

    ``code`` is both the HTTP status and ``errorcode``; ``cs_code`` is the class code, None where real replies
    have none; ``unknown_command`` chooses the ``errorresponse`` wrapper.
    """

    def __init__(self, code: int, text: str, cs_code: int | None = 9999, *, unknown_command: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.cs_code = cs_code
        self.unknown_command = unknown_command


def unauthorized(text: str = UNAUTHORIZED_TEXT, *, unknown_command: bool = False) -> ApiError:
    """401: keys, signature, session or (with keys) the command's name are not good."""
    return ApiError(401, text, None, unknown_command=unknown_command)


def bad_parameter(text: str) -> ApiError:
    """431/9999: a parameter is missing or cannot be read."""
    return ApiError(431, text, 9999)


def invalid(text: str) -> ApiError:
    """431/4350: InvalidParameterValueException."""
    return ApiError(431, text, 4350)


def denied(text: str) -> ApiError:
    """531/4365: PermissionDeniedException."""
    return ApiError(531, text, 4365)


def failed(text: str) -> ApiError:
    """530/4250: CloudRuntimeException."""
    return ApiError(530, text, 4250)


def over_quota(text: str) -> ApiError:
    """535/4370: ResourceAllocationException."""
    return ApiError(535, text, 4370)


def no_capacity(text: str) -> ApiError:
    """533/4335: InsufficientServerCapacityException."""
    return ApiError(533, text, 4335)


def in_use(text: str) -> ApiError:
    """536/4375: ResourceInUseException."""
    return ApiError(536, text, 4375)


def conflict(text: str) -> ApiError:
    """537/4360: NetworkRuleConflictException."""
    return ApiError(537, text, 4360)


def not_available(command: str, account: str) -> ApiError:
    """432: the caller's role does not allow the command."""
    text = f"The API [{command}] does not exist or is not available for the account {account}."
    return ApiError(432, text, 4555, unknown_command=True)


def unreadable(command: str, name: str, value: str) -> ApiError:
    """431/9999: a value that is not of its parameter's type."""
    return bad_parameter(
        f"Unable to execute API command {command.lower()} due to invalid value {value} for parameter {name}"
    )


def no_such_entity(command: str, name: str, value: str) -> ApiError:
    """431/4350: a uuid that never existed."""
    return invalid(
        f"Unable to execute API command {command.lower()} due to invalid value. Invalid parameter {name} value={value}"
        " due to incorrect long value format, or entity does not exist or due to incorrect parameter annotation for"
        " the field in api cmd class."
    )
