"""What the commands for storage nodes share."""

from __future__ import annotations

from collections.abc import Callable

from django.core.management.base import CommandParser

from ..store import Retention
from .quantities import duration, human_duration


def add_url_argument(parser: CommandParser) -> None:
    """The storage node's URL (``options["storage"]``)."""
    parser.add_argument(
        "storage",
        metavar="URL",
        help="file:///directory, sftp://user@host/directory or s3://bucket/prefix",
    )


def add_retention_arguments(parser: CommandParser) -> None:
    """For how long exports are kept (``options["keep"]`` and ``options["min_age"]``)."""
    parser.add_argument(
        "--keep",
        type=duration,
        metavar="TIME",
        help="how long exports are kept that do not say otherwise, such as 90m, 48h, 7d or 2w",
    )
    parser.add_argument(
        "--min-age",
        type=duration,
        metavar="TIME",
        help="nothing younger is removed automatically, whatever else is said",
    )


def warn_if_pointless(retention: Retention, tell: Callable[[str], object]) -> None:
    """Say what counts where exports are to be kept for less time than nothing is removed."""
    if retention.keep < retention.min_age:
        tell(
            f"WARNING: exports are kept for {human_duration(retention.min_age)} all the same: that "
            f"is the minimum age, and {human_duration(retention.keep)} is less"
        )


def told_retention(retention: Retention) -> str:
    return (
        f"exports are kept for {human_duration(retention.keep)}, and none is removed "
        f"automatically before it is {human_duration(retention.min_age)} old"
    )
