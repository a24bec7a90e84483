"""What users without root ask the worker for.

All of it is checked when it is read: whoever may use libvirt may send whatever he likes.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...errors import (
    ConflictError,
    DevopsError,
    FormatError,
    HypervisorError,
    NotFoundError,
    StorageError,
    UnsupportedError,
    UsageError,
)
from ...manifest.document import Many
from ...store import is_export_id
from ..capture import CannotDetachError
from ..room import SpoolFullError

_LONGEST_URL = 1024  # characters
_LONGEST_MESSAGE = 1000  # characters
_LONGEST_KEEP = datetime.timedelta.max.total_seconds() - 1

_KINDS = {
    kind.__name__: kind
    for kind in (
        CannotDetachError,
        ConflictError,
        FormatError,
        HypervisorError,
        NotFoundError,
        SpoolFullError,
        StorageError,
        UnsupportedError,
        UsageError,
    )
}


def _an_export(text: str) -> str:
    if not is_export_id(text):
        raise ValueError("not the id of an export")
    return text


ExportId = Annotated[str, AfterValidator(_an_export)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True)


class TakeIn(_Request):
    """Take the files of an environment, whose manifest comes behind.

    :param sealed: places of files in the manifest that nothing will write to in place
    """

    ask: Literal["take in"] = "take in"
    id: ExportId
    storage: Annotated[str, Field(max_length=_LONGEST_URL)]
    sealed: Many[Annotated[int, Field(ge=0)]]
    keep_seconds: Annotated[float, Field(gt=0, le=_LONGEST_KEEP)] | None = None


class TellAll(_Request):
    """:class:`~..queue.Overview`"""

    ask: Literal["tell all"] = "tell all"


class TellSummary(_Request):
    """What the storage node will show of an export."""

    ask: Literal["tell summary"] = "tell summary"
    id: ExportId


class TellFate(_Request):
    """:class:`~..queue.Fate`"""

    ask: Literal["tell fate"] = "tell fate"
    id: ExportId


class Retry(_Request):
    """Try those of the user's now."""

    ask: Literal["retry"] = "retry"


class Drop(_Request):
    """Give one of the user's up."""

    ask: Literal["drop"] = "drop"
    id: ExportId


Request = TakeIn | TellAll | TellSummary | TellFate | Retry | Drop
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="ask")])


def read_request(text: bytes) -> Request:
    """:raises FormatError: it is none"""
    try:
        return _REQUEST.validate_json(text)
    except ValidationError as error:
        raise FormatError(
            f"the worker does not understand it: {error.errors()[0]['msg'][:_LONGEST_MESSAGE]}",
            hint="Restart the worker if it was updated since it started",
        ) from error


def refusal(error: DevopsError) -> dict[str, Any]:
    """As a message."""
    return {
        "refused": type(error).__name__,
        "message": error.message[:_LONGEST_MESSAGE],
        "hint": error.hint,
    }


def refused(message: Mapping[str, Any]) -> DevopsError | None:
    """The error that a message is, if it is one."""
    if "refused" not in message:
        return None
    kind = _KINDS.get(message["refused"], DevopsError)
    return kind(message["message"], hint=message["hint"])
