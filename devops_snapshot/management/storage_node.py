"""What the commands for storage nodes share."""

from __future__ import annotations

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


def told_retention(retention: Retention) -> str:
    return (
        f"exports are kept for {human_duration(retention.keep)}, and none is removed "
        f"automatically before it is {human_duration(retention.min_age)} old"
    )
