"""What a store's client raises: what passes when it is asked again, and what never will."""

from __future__ import annotations

import errno
from typing import Any, Final

from pipeline.errors import InputError, reason

_TRANSIENT_STATUS: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
_TRANSIENT_CODES: Final = frozenset(("InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout"))
_TRANSIENT_ERRNO: Final = frozenset((errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE, errno.EBUSY))
# by name: clients of several libraries raise them, and none of these is loaded for a look
_TIMEOUTS: Final = frozenset(
    ("TimeoutError", "ReadTimeoutError", "ConnectTimeoutError", "ServerTimeoutError")
)
_LOST: Final = frozenset(
    (
        # of Python and requests, of aiohttp, of botocore
        *("ConnectionError", "IncompleteRead", "ProtocolError", "ChunkedEncodingError"),
        *("ClientPayloadError", "ClientConnectionError"),
        *("HTTPClientError", "ResponseParserError", "ResponseStreamingError"),
    )
)
_CREDENTIALS: Final = frozenset(
    (
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
        *("TokenRefreshRequired", "InvalidSecurity", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed"),
    )
)
_NO_CREDENTIALS: Final = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError")
)
CHANGED: Final = "it changed since it was listed"


class StoreFault(InputError):
    """Nothing can be read from the store as things are: work that needs it ends, and can go on later."""


class Unreadable(InputError):
    """This object cannot be read, others can. ``why``: the reason alone; ``missing``: there is none."""

    def __init__(self, where: str, why: str, missing: bool = False) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why, self.missing = where, why, missing

    def __reduce__(self) -> tuple[Any, ...]:
        return Unreadable, (self.where, self.why, self.missing)


class ShortAnswer(Exception):
    """Fewer bytes came than the answer was to have."""


def transient(error: BaseException) -> str | None:
    """Why the request may succeed if it is made again, in a few words; None where it cannot."""
    status, code = _status(error), _code(error)
    if status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:  # S3's RequestTimeout has the status 400
        return f"HTTP {status}" if status in _TRANSIENT_STATUS else code
    if _response(error) or _names(error) & _NO_CREDENTIALS:
        return None
    if _names(error) & _TIMEOUTS:
        return "time-out"
    if isinstance(error, ShortAnswer) or _names(error) & _LOST:
        return "connection lost"
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return "connection lost"
    return None


def permanent(error: BaseException, where: str) -> InputError:
    """The one line for what cannot be mended by asking again. ``where``: the URL that was asked for."""
    status, code = _status(error), _code(error)
    if code == "NoSuchBucket":
        return StoreFault(f"{where}: there is no such bucket; see its name, and the store (AWS_ENDPOINT_URL)")
    if code in _CREDENTIALS or _names(error) & _NO_CREDENTIALS:
        return StoreFault(
            f"{where}: the store does not take the credentials ({code or reason(error)}); give others in the "
            "environment (AWS_ACCESS_KEY_ID ...) or in the store's own files"
        )
    if status in (412, 416):  # another version; shorter than what was asked for
        return Unreadable(where, CHANGED)
    if isinstance(error, FileNotFoundError) or status == 404:
        return Unreadable(where, "No such file or directory", missing=True)  # the words of a local file
    if isinstance(error, PermissionError) or status == 403:
        told = code or (f"HTTP {status}" if status else reason(error))
        return Unreadable(
            where, f"Permission denied ({told}): the credentials are wrong, or have no right to read it"
        )
    return StoreFault(f"{where}: cannot be read: {reason(error)}")


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it was made of."""
    errors = [error]
    while (inner := errors[-1].__cause__) is not None and len(errors) < 8:
        errors.append(inner)
    return errors


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for inner in _chain(error) for kind in type(inner).__mro__}


def _response(error: BaseException) -> dict[str, Any]:
    """What botocore keeps of the answer; empty for other clients."""
    for inner in _chain(error):
        response = getattr(inner, "response", None)
        if isinstance(response, dict):
            return response
    return {}


def _status(error: BaseException) -> int:
    """HTTP status of the answer, 0 where it is not known: botocore's, aiohttp's (status), gcsfs' (code)."""
    told = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    values = [told, *(getattr(inner, name, None) for inner in _chain(error) for name in ("status", "code"))]
    return next((value for value in values if isinstance(value, int) and 400 <= value < 600), 0)


def _code(error: BaseException) -> str:
    """The store's own word for the error; empty where there is none."""
    code = str(_response(error).get("Error", {}).get("Code", ""))
    return "" if code.isdecimal() else code
