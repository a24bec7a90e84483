"""What is left when env-shell is killed, and how it goes."""

from __future__ import annotations

import signal
import time

import pytest

from tests.bed import Host

from .lab import Lab, gone_soon, left_on, run_in


@pytest.fixture(scope="module")
def lab(host: Host) -> Lab:
    """Isolated, so that there is something of each kind; nobody lives there."""
    return Lab.isolated(host, "left")


def killed_inside(lab: Lab) -> None:
    """Let an env-shell be killed while its command runs; the command goes with it."""
    with lab.open("sleep 4711") as process:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while "4711" in run_in(lab.host, "sh", "-c", "cat /proc/[0-9]*/cmdline"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    left = left_on(lab.host)
    assert "dnsmasq" in left
    assert sum(name.startswith("devops-") for name in left) == 2  # namespace and network
    assert sum(name.startswith("ds") for name in left) == 4


def test_sync_removes_it(lab: Lab) -> None:
    killed_inside(lab)
    lab.dos("sync")
    assert not left_on(lab.host)
    lab.shell("true")


def test_the_next_env_shell_removes_it(lab: Lab) -> None:
    killed_inside(lab)
    lab.shell("true")
    assert not left_on(lab.host)


def test_those_inside_are_left_alone(lab: Lab) -> None:
    with lab.open():
        before = left_on(lab.host)
        lab.dos("sync")
        assert left_on(lab.host) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_half_made_is_removed_at_once(lab: Lab, number: signal.Signals) -> None:
    with lab.start("sleep", "1000") as process:
        while len(left_on(lab.host)) < 3:
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(timeout=30) == 128 + number
    assert not left_on(lab.host)


def test_killed_at_any_moment(lab: Lab) -> None:
    """Also while what an earlier one left is removed."""
    for moment in range(6):
        with lab.start("true") as process:
            while len(left_on(lab.host)) < moment and process.poll() is None:
                time.sleep(0.001)
            process.kill()
            process.wait()
    lab.shell("true")
    assert gone_soon(lab.host)


def test_erase_removes_it(lab: Lab) -> None:
    """Last."""
    killed_inside(lab)
    lab.dos("erase", "left")
    assert not left_on(lab.host)
