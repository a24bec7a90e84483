"""What S3 answers, as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from devops_snapshot.errors import NotFoundError, StorageError

from .interface import AccessError
from .patience import ConnectionLost

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
EXISTS = frozenset({"412", "PreconditionFailed"})
CONTESTED = frozenset({"409", "ConditionalRequestConflict"})  # another client writes it right now
_FULL = frozenset(
    {
        "507",
        "InsufficientStorage",
        "QuotaExceeded",  # Ceph
        "XMinioAdminBucketQuotaExceeded",
        "XMinioStorageFull",
    }
)
_REFUSED = frozenset({"401", "403", "AccessDenied", "AllAccessDisabled", "MethodNotAllowed"})
_LOGIN = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_REGION = frozenset({"301", "AuthorizationHeaderMalformed", "PermanentRedirect"})
_NO_CREDENTIALS = (
    exceptions.CredentialRetrievalError,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_UNREACHABLE = (
    exceptions.ConnectTimeoutError,
    exceptions.EndpointConnectionError,
    exceptions.InvalidProxiesConfigError,
    exceptions.ProxyConnectionError,
    exceptions.SSLError,
)
_LOST = (
    exceptions.ConnectionClosedError,
    exceptions.IncompleteReadError,
    exceptions.ReadTimeoutError,
    exceptions.ResponseStreamingError,
)


def code_of(error: ClientError) -> str:
    """Return the name that S3 gives the error, or the HTTP status where it gives none."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def clear_errors(where: str, bucket: str, endpoint: str) -> Iterator[None]:
    """Turn boto's errors into the project's.

    :param where: the URL of what is read or written
    """
    try:
        yield
    except ClientError as error:
        raise _refusal(error, where, bucket, endpoint) from error
    except BotoCoreError as error:
        raise _failure(error, where, endpoint) from error


def _refusal(
    error: ClientError, where: str, bucket: str, endpoint: str
) -> StorageError | NotFoundError:
    # Ceph says nothing more than the code
    code, text = code_of(error), error.response.get("Error", {}).get("Message") or ""
    if code in MISSING:
        return NotFoundError(f"{where} does not exist")
    if code == "NoSuchBucket":
        return no_bucket(bucket, endpoint)
    if code in _LOGIN:
        return StorageError(
            f"{endpoint} does not accept these credentials: {text or code}",
            hint="Check the access key, or AWS_PROFILE, and that they belong to this endpoint",
        )
    if code in _FULL:
        return StorageError(
            f"No space left for {where}: {code}", hint="Free space, or have the quota raised"
        )
    if code in _REFUSED:
        return AccessError(
            f"No permission for {where} at {endpoint}: {text or code}",
            hint="Let the bucket's policy allow GetObject, PutObject and DeleteObject "
            f"in {bucket}, and ListBucket on it",
        )
    if code in _REGION:
        return StorageError(
            f"Bucket {bucket} is in another region: {text or code}",
            hint="Name its region with AWS_DEFAULT_REGION, or in ~/.aws/config",
        )
    if code == "RequestTimeTooSkewed":
        return StorageError(
            f"The clock of this host differs too much from that of {endpoint}", hint="Set it right"
        )
    return StorageError(f"{where}: {error}")


def _failure(error: BotoCoreError, where: str, endpoint: str) -> StorageError:
    if isinstance(error, _NO_CREDENTIALS):
        return no_credentials(error)
    if isinstance(error, _UNREACHABLE):
        return ConnectionLost(
            f"Cannot connect to {endpoint}: {_reason(error)}",
            hint="Check AWS_ENDPOINT_URL, the network and that the store runs there",
        )
    if isinstance(error, _LOST):
        return ConnectionLost(f"Connection to {endpoint} was lost", hint="Try again")
    if isinstance(error, exceptions.ParamValidationError):
        return StorageError(f"{where}: {_one_line(error)}", hint="Check the name of the bucket")
    return StorageError(f"{where}: {_one_line(error)}")


def no_bucket(bucket: str, endpoint: str) -> StorageError:
    return StorageError(
        f"There is no bucket {bucket!r} at {endpoint}",
        hint="Check the name and AWS_ENDPOINT_URL, or make the bucket",
    )


def not_s3(endpoint: str, error: ClientError) -> StorageError:
    """The error for an answer that has no name, only an HTTP status."""
    return StorageError(
        f"What runs at {endpoint} does not answer like S3: HTTP {code_of(error)}",
        hint="Check AWS_ENDPOINT_URL",
    )


def no_credentials(error: Exception) -> StorageError:
    return StorageError(
        f"No credentials for S3: {_one_line(error)}",
        hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )


def _reason(error: BotoCoreError) -> str:
    """Return what the operating system said, without the objects that urllib3 shows around it."""
    cause: object = getattr(error, "kwargs", {}).get("error", error)
    return _one_line(cause).rpartition("] ")[2].rstrip(")") or type(error).__name__


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".")
