"""What all commands share: their base class, tables, JSON, progress bars, sizes."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from django.core.management import BaseCommand
from django.core.management.base import CommandParser, DjangoHelpFormatter
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from tabulate import tabulate

from .devops.database import prepare_database
from .errors import DevopsError
from .lock import changing
from .output import PROGRAM, encodable, steps_told, visible
from .signals import about_to_change, powered


class _HelpFormatter(DjangoHelpFormatter):
    """Wraps prose; a paragraph with indented lines, such as the examples, is left as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            paragraph
            if "\n " in paragraph
            else textwrap.fill(paragraph, width, initial_indent=indent, subsequent_indent=indent)
            for paragraph in paragraphs
        )


class DevopsCommand(BaseCommand):
    """Base class of all commands.

    A command is thin: arguments in, one call, output. It raises DevopsError; ``dos.py`` makes one
    line of it. The database is there and up to date when ``handle`` is called.
    """

    group = "Environments"
    """The heading under which ``dos.py --help`` lists the command."""

    examples: Sequence[str] = ()
    """Whole command lines, shown at the end of the command's help."""

    needs_database = True

    changes_environment = False
    """Only one such command at a time works on an environment (``options["name"]``)."""

    powers = False
    """Guests are switched on or off, or go on: what waits for that is done afterwards."""

    tells_steps = False
    """What its work logs at INFO is told to the user, such as for whom it waits."""

    requires_system_checks: list[str] = []
    suppressed_base_arguments = {  # Django's own; they work, but say nothing to our users
        "--version",
        "--verbosity",
        "--settings",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
        "--skip-checks",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stdout.style_func = visible  # on a terminal
        self.stderr.style_func = visible  # what is told there is no error: Django prints it red

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # a command is typed with hyphens, however it was called
        return super().create_parser(
            prog_name,
            subcommand.replace("_", "-"),
            formatter_class=_HelpFormatter,
            epilog=self._epilog(),
            **kwargs,
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Django's dispatcher, by which commands are called beside another ``devops`` app, does not
        know our errors: ``dos.py`` does.
        """
        try:
            super().run_from_argv(argv)
        except DevopsError as error:
            if argv[0] == PROGRAM:
                raise
            self.stderr.write(f"Error: {error}")
            sys.exit(error.exit_code)

    def _epilog(self) -> str:
        return "\n  ".join(["examples:", *self.examples]) if self.examples else ""

    def execute(self, *args: Any, **options: Any) -> str | None:
        if self.needs_database:
            prepare_database()
        with (
            steps_told() if self.tells_steps else nullcontext(),
            changing(options["name"]) if self.changes_environment else nullcontext(),
        ):
            if self.changes_environment:
                about_to_change.send(sender=type(self), environment=options["name"])
            output = super().execute(*args, **options)
            if self.powers:
                powered.send(sender=type(self), environment=options["name"])
            return output

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a plain table as fuel-devops does; without rows, nothing.

        Columns of numbers stand at the right, all others at the left; a name that looks like a
        number is left as it is. Each row takes one line, and has no control characters.
        """
        rows = [[self._cell(value) for value in row] for row in rows]
        if not rows:
            return
        aligned = [
            "right" if _all_numbers(column) else "left" for column in zip(*rows, strict=True)
        ]
        self.stdout.write(
            tabulate(
                rows,
                headers=headers,
                tablefmt="simple",
                disable_numparse=True,
                colalign=aligned,
            )
        )

    def _cell(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = visible(value.replace("\n", " ").replace("\t", " "))
        return encodable(text, self.stdout.encoding)

    def json(self, document: Any) -> None:
        """Print a document for programs to read."""
        self.stdout.write(json.dumps(document, indent=2, default=str))

    def confirm(self, question: str) -> bool:
        """Ask; only ``y`` or ``yes`` is a yes. Where nobody can answer, it is no."""
        self.stdout.write(f"{question} [y/N] ", ending="")
        self.stdout.flush()
        answer = sys.stdin.readline() if sys.stdin else ""
        if not answer.endswith("\n"):
            self.stdout.write("")
        return answer.strip().lower() in {"y", "yes"}


def _all_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, (int, float)) for value in values if value is not None)


def add_environment_argument(parser: CommandParser) -> None:
    """The environment's name as first argument (``options["name"]``)."""
    parser.add_argument("name", metavar="ENV_NAME", help="environment name")


def add_node_argument(parser: CommandParser) -> None:
    """The node that is meant (``options["node_name"]``)."""
    parser.add_argument("--node-name", "-N", required=True, help="node name")


def human_size(size: float) -> str:
    """Bytes for people: ``999 B``, ``1.5 KiB``, ``20.0 TiB``."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars that count bytes, on standard error; nothing is shown where that is no terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),  # names may have brackets
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        yield progress
