"""``dos.py``: one dispatcher; every command is a Django management command."""

from __future__ import annotations

import atexit
import difflib
import gc
import os
import re
import signal
import sys
import textwrap
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, get_commands, load_command_class
from django.db import DatabaseError, OperationalError

from devops_snapshot import __version__
from devops_snapshot.errors import DevopsError, UsageError
from devops_snapshot.output import (
    PROGRAM,
    OutputError,
    ReaderGoneError,
    complete_output,
    guarded_streams,
    visible,
)

INTERRUPTED, BROKEN_PIPE = 130, 141
"""Exit codes: those of a shell for a process that the signal ended."""

UNUSABLE_DATABASE = (DatabaseError, OperationalError)
"""What the database says when it is at fault; its other errors are ours."""

SUMMARY_WIDTH = 78
_SOON = 0.01  # seconds
FOREIGN_GROUP = "Django"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if argv is None:
        argv = sys.argv[1:]
        _unwind_on_signals()
        atexit.register(gc.freeze)  # nobody looks for garbage at the end, which takes long
    with guarded_streams():
        try:
            with complete_output():
                return _run(list(argv))
        except ReaderGoneError:
            return BROKEN_PIPE
        except OutputError as error:
            return _fail(f"Cannot write to standard output: {error}")


def _run(arguments: list[str]) -> int:
    """Run one command; what a user can meet becomes one line and an exit code."""
    try:
        return _dispatch(arguments)
    except DevopsError as error:
        return _fail(str(error), error.exit_code)
    except ImproperlyConfigured as error:
        return _fail(_first_line(error))
    except DatabaseError as error:
        if type(error) not in UNUSABLE_DATABASE:
            raise
        return _fail(_unusable(error))
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED


def _unwind_on_signals() -> None:
    """Let what is half done be undone when the process is asked to end, as on Ctrl-C."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, unwind)
    sys.unraisablehook = _send_again


def _send_again(lost: sys.UnraisableHookArgs) -> None:
    """Python swallows what a signal raises inside a finalizer: let the signal come once more."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        number: int = signal.SIGINT
    elif isinstance(lost.exc_value, SystemExit) and isinstance(lost.exc_value.code, int):
        number = lost.exc_value.code - 128
    else:
        sys.__unraisablehook__(lost)
        return
    threading.Timer(_SOON, os.kill, (os.getpid(), number)).start()


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"} or arguments == ["help"]:
        _set_up_django()
        print(_overview())
        return 0
    if arguments[0] in {"version", "--version"} and len(arguments) == 1:
        print(__version__)  # needs no settings and no database
        return 0
    if arguments[0] == "help":
        arguments = [arguments[1], "--help"]
    _set_up_django()
    command = _load(arguments[0])
    command.run_from_argv([PROGRAM, *arguments])
    return 0


def _set_up_django() -> None:
    # fuel-devops sets this variable for itself and its children: never mind what it says
    os.environ["DJANGO_SETTINGS_MODULE"] = "devops_snapshot.settings"
    django.setup()


def _load(name: str) -> BaseCommand:
    """The command typed as ``name``, such as ``create-env``; exits if there is none."""
    commands = get_commands()
    module_name = name.replace("-", "_")
    if module_name not in commands:
        _unknown(name, commands)
    if not _is_ours(commands[module_name]):
        from devops_snapshot.devops.database import create_directory

        create_directory()  # Django's own, such as migrate, take for granted that it is there
    return load_command_class(commands[module_name], module_name)


def _unknown(name: str, commands: Mapping[str, str]) -> NoReturn:
    typed = [_typed(command) for command in commands]
    nearest = difflib.get_close_matches(name, typed, n=1)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"`{PROGRAM} --help` lists all commands"
    raise UsageError(f"Unknown command {name!r}", hint=hint)


def _overview() -> str:
    """All commands with their help, grouped."""
    groups: dict[str, list[str]] = defaultdict(list)
    foreign: list[str] = []
    for name, app in sorted(get_commands().items()):
        if not _is_ours(app):
            foreign.append(_typed(name))
            continue
        command = load_command_class(app, name)
        line = f"  {_typed(name):<18} {_summary(command)}"
        groups[getattr(command, "group", "Other")].append(line)
    sections = [f"{title}:\n" + "\n".join(lines) for title, lines in groups.items()]
    names = textwrap.fill(", ".join(foreign), initial_indent="  ", subsequent_indent="  ")
    sections.append(f"{FOREIGN_GROUP}:\n{names}")
    return "\n\n".join(
        [
            f"usage: {PROGRAM} COMMAND [ARGUMENT ...]",
            "Environments of virtual machines: make, snapshot, export and import them.",
            *sections,
            f"`{PROGRAM} COMMAND --help` explains a command.",
        ]
    )


def _summary(command: BaseCommand) -> str:
    """The first sentence of a command's help, on one line."""
    sentence = re.split(r"\.\s|\n", str(command.help))[0].rstrip(".")
    return textwrap.shorten(sentence, width=SUMMARY_WIDTH, placeholder="...")


def _is_ours(app: str) -> bool:
    return app.startswith("devops_snapshot")


def _typed(module_name: str) -> str:
    """A command's module as it is typed."""
    return module_name.replace("_", "-")


def _unusable(error: DatabaseError) -> str:
    from devops_snapshot.devops.database import describe_database

    return f"Cannot use {describe_database()}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _fail(message: str, code: int = 1) -> int:
    """Say what is wrong, below all that was written before, also where both go to one file."""
    try:
        sys.stdout.flush()
    finally:
        print(f"Error: {visible(message)}", file=sys.stderr)
    return code
