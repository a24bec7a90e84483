"""The record of an export or import follows it to its end, whatever end that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import DevopsError
from .interrupts import held_back
from .models import Journey, State


@contextmanager
def recorded(record: Journey) -> Iterator[None]:
    """Write into the record how the block ended; errors pass through."""
    state, error = State.DONE, ""
    try:
        yield
    except DevopsError as failure:
        state, error = State.FAILED, str(failure)
        raise
    except (KeyboardInterrupt, SystemExit):  # the latter is how dos.py takes SIGTERM and SIGHUP
        state, error = State.CANCELLED, "interrupted"
        raise
    except BaseException as failure:
        state, error = State.FAILED, repr(failure)
        raise
    finally:
        with held_back():
            record.finish(state, error=error)
