"""Who runs a command, as exports and pins tell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = (
    "import os; from devops_snapshot.account import user_name; os.setuid(4711); print(user_name())"
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@needs_root
@pytest.mark.parametrize(("variables", "told"), [({}, "4711"), ({"LOGNAME": "ann"}, "ann")])
def test_a_user_whom_no_list_names(variables: dict[str, str], told: str) -> None:
    """As in a container that runs under some number."""
    asked = subprocess.run(
        [sys.executable, "-c", ASK], env=variables, capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == told
