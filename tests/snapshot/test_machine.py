"""Random sequences of snapshots, reverts, deletions and writes, each step compared with a model.

The run is short and always the same, unless ``DEVOPS_LONG_RUN`` says how many steps to take (three
or four a second)::

    DEVOPS_LONG_RUN=5000 pytest tests/snapshot/test_machine.py --log-cli-level=INFO

Then they are others each time, and a sequence that fails is made as short as five minutes allow.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from devops_snapshot.snapshot import flatten
from tests.bed import Bed

from .machine import LOG, Machine

LONG_RUN = int(os.environ.get("DEVOPS_LONG_RUN", "0"))
LONGEST = 40  # steps in one environment
MIXED = 752
"""A seed with which little of the short run is wasted: all that can be done is done in it."""

ALWAYS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
SHORT = settings(ALWAYS, max_examples=3, stateful_step_count=20, phases=[Phase.generate])
LONG = settings(
    ALWAYS,
    max_examples=max(1, LONG_RUN // LONGEST),
    stateful_step_count=LONGEST,
    phases=[Phase.generate, Phase.shrink],
)


@pytest.mark.timeout(0 if LONG_RUN else 120)
def test_nothing_is_lost(
    bed: Bed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chains are flattened all the time: they are to be shorter than elsewhere."""
    caplog.set_level(logging.INFO, logger=LOG.name)
    monkeypatch.setattr(flatten, "MAX_CHAIN", 5)
    host = bed.host("beta")

    def machine() -> Machine:
        return Machine(host, tmp_path)

    if LONG_RUN:
        run_state_machine_as_test(machine, settings=LONG)
    else:
        run_state_machine_as_test(seed(MIXED)(machine), settings=SHORT)
