"""The record of an export or import follows it to its end, whatever end that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import DevopsError
from .interrupts import held_back
from .models import Export, Import, Journey, State
from .process import has_ended, this_process


@contextmanager
def recorded(record: Journey, *, ends_as: State = State.DONE) -> Iterator[None]:
    """Write into the record how the block ended; errors pass through.

    :param ends_as: without an error
    """
    close_killed()
    record.process = this_process()
    record.save(update_fields=["process"])
    state, error = ends_as, ""
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


def close_killed() -> None:
    """Record the end of those that were killed on this host and have left nothing to be undone."""
    exports = Export.objects.filter(state=State.RUNNING)
    imports = Import.objects.filter(state=State.RUNNING, place="")
    for record in (*exports, *imports):
        if has_ended(record.process):
            record.finish(State.FAILED, error="killed")
