"""The record of an export or import follows it to its end, whatever end that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import DevopsError
from .models import Journey, State


@contextmanager
def recorded(record: Journey) -> Iterator[None]:
    """Write into the record how the block ended; errors pass through."""
    try:
        yield
    except DevopsError as error:
        record.finish(State.FAILED, error=str(error))
        raise
    except KeyboardInterrupt:
        record.finish(State.CANCELLED, error="interrupted")
        raise
    except BaseException as error:
        record.finish(State.FAILED, error=repr(error))
        raise
    record.finish(State.DONE)
