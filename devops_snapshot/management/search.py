"""Which exports of a storage node a user looks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from django.core.management.base import CommandParser

from ..store import ExportEntry
from .quantities import moment
from .summary import Summary
from .tags import Tag, add_tag_argument

_FAILED = ("failed", "error")


def add_search_arguments(parser: CommandParser) -> None:
    parser.add_argument("--env", metavar="ENV_NAME", help="only exports of this environment")
    parser.add_argument(
        "--test",
        metavar="PATTERN",
        help="only of tests whose whole name fits: * is any text, ? any character, [ab] a or b",
    )
    parser.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="only those that were made since: a duration such as 36h or 2d, or a date",
    )
    parser.add_argument(
        "--failed", action="store_true", help="only of tests that failed or had an error"
    )
    add_tag_argument(parser, help="only those with this tag")


@dataclass(frozen=True)
class Search:
    """All of it has to hold; what is None or empty holds for all.

    :param test: a pattern, or a test's name as it is, which may have brackets of its own
    """

    environment: str | None = None
    test: str | None = None
    since: datetime | None = None
    failed: bool = False
    tags: tuple[Tag, ...] = ()

    @classmethod
    def of(cls, options: dict[str, Any]) -> Search:
        return cls(
            environment=options["env"] or None,
            test=options["test"],
            since=options["since"],
            failed=options["failed"],
            tags=tuple(options["tag"]),
        )

    def finds(self, entry: ExportEntry) -> bool:
        summary = Summary.of(entry.summary)
        return (
            self.environment in (None, summary.environment)
            and (self.since is None or entry.published >= self.since)
            and (not self.failed or summary.outcome in _FAILED)
            and self._means(summary.test)
            and all(summary.tags.get(key) == value for key, value in self.tags)
        )

    def _means(self, test: str) -> bool:
        if self.test is None:
            return True
        return test != "" and (test == self.test or fnmatchcase(test, self.test))

    def __str__(self) -> str:
        """What is said where there is none: `` of environment 'demo' that match``."""
        environment = f" of environment {self.environment!r}" if self.environment else ""
        others = self.test is not None or self.since or self.failed or self.tags
        return environment + (" that match" if others else "")
