"""How hard is tried: a little with every run of the suite, for hours with ``DEVOPS_LONG_RUN=1``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings

from devops_snapshot.errors import DevopsError

LONG = bool(os.environ.get("DEVOPS_LONG_RUN"))
_MORE = 100
_LONGEST = 5000  # characters of a message


def examples(number: int) -> Any:
    """So many in a short run; what was drawn is in a failure's report."""
    return settings(
        max_examples=number * (_MORE if LONG else 1),
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
    )


@contextmanager
def only_clear_errors() -> Iterator[None]:
    """What the block raises is for users: of one line, and not longer than anybody reads."""
    message = ""
    try:
        yield
    except DevopsError as error:
        message = str(error)
    assert len(message) < _LONGEST, f"a message of {len(message)} characters"
