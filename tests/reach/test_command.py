"""What env-shell runs, as whom, and how it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from .lab import Lab, left_on, run_in


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_the_exit_code_is_that_of_the_command(deserted: Lab, script: str, code: int) -> None:
    """The administrator's tools need not be on the PATH."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    assert deserted.shell("sh", "-c", script, check=False, PATH=path).returncode == code


def test_options_and_input_are_the_command_s(deserted: Lab) -> None:
    script = 'echo "$@"; tr -d x'
    done = deserted.shell("--", "sh", "-c", script, "sh", "--help", "-v", "--", input="axbx")
    assert done.stdout == "--help -v --\nab"


def test_a_command_that_is_not_there(deserted: Lab) -> None:
    done = deserted.shell("no-such-command", check=False)
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_command_it_is_the_shell(deserted: Lab) -> None:
    done = deserted.shell(input="echo $DEVOPS_ENV_SHELL; exit 3\n", check=False, SHELL="/bin/sh")
    assert (done.stdout, done.returncode) == ("trip\n", 3)
    assert "admin 10.109.0.254/24, private 10.109.1.254/24. Out by admin." in done.stderr


def test_without_the_rights_it_says_what_to_type(deserted: Lab) -> None:
    """root without capabilities is anybody."""
    without = ["setpriv", "--bounding-set=-net_admin", sys.executable, "-m", "devops_snapshot"]
    done = deserted.host.run([*without, "env-shell", "trip", "true"], env=deserted.env, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: the way to the guests of 'trip' takes network devices, which only root may make "
        '(CAP_NET_ADMIN, CAP_SYS_ADMIN). Use sudo: sudo -E env "PATH=$PATH" dos.py ...\n'
    )


def test_there_is_no_second_one_inside(deserted: Lab) -> None:
    """It would not see the bridges of the host."""
    nested = [sys.executable, "-m", "devops_snapshot", "env-shell", "trip", "true"]
    code, line = deserted.refused(*nested)
    assert (code, line) == (1, "Error: this is the env-shell of 'trip'. Leave it first")


def test_who_came_by_sudo_is_himself_inside(deserted: Lab) -> None:
    script = "id -u; id -g; echo $HOME; touch /run/mine 2>/dev/null || echo no"
    seen = deserted.sees("sh", "-c", script, SUDO_UID="5")
    assert seen.split() == ["5", "60", "/usr/games", "no"]


def test_ctrl_c_ends_the_command_alone(deserted: Lab) -> None:
    """On a terminal: the command ends, what was set up is removed, and the exit code tells."""
    ours, theirs = os.openpty()
    argv = ["setsid", "--ctty", "--wait", sys.executable, "-m", "devops_snapshot"]
    command = ["env-shell", "trip", "sh", "-c", "echo rea''dy; sleep 1000"]
    with deserted.host.popen(
        [*argv, *command], env=deserted.env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen = b""
        while b"ready" not in seen:
            seen += os.read(ours, 1024)
        assert left_on(deserted.host)
        os.write(ours, b"\x03")
        assert process.wait(timeout=20) == 130
    os.close(ours)
    assert not left_on(deserted.host)


def test_a_shell_that_talks_to_somebody_ends_with_env_shell(deserted: Lab) -> None:
    """bash passes over SIGTERM there."""
    ours, theirs = os.openpty()
    argv = ["setsid", "--ctty", "--wait", sys.executable, "-m", "devops_snapshot"]
    env = {**deserted.env, "SHELL": "/bin/bash"}
    with deserted.host.popen(
        [*argv, "env-shell", "trip"], env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, b"echo rea''dy $PPID\n")
        seen = b""
        while b"ready " not in seen:
            seen += os.read(ours, 1024)
        while b"\n" not in seen.partition(b"ready ")[2]:
            seen += os.read(ours, 1024)
        parent = seen.partition(b"ready ")[2].split()[0].decode()
        run_in(deserted.host, "kill", parent)
        assert process.wait(timeout=20) == 129
    os.close(ours)
    assert not left_on(deserted.host)
