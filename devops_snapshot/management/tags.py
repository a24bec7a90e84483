"""``--tag KEY=VALUE``: what users file exports under, and find them by."""

from __future__ import annotations

import argparse

from django.core.management.base import CommandParser

from ..exporter.report import word

Tag = tuple[str, str]


def add_tag_argument(parser: CommandParser, *, help: str) -> None:
    """Any number of tags (``options["tag"]``, a list of pairs)."""
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        type=tag,
        metavar="KEY=VALUE",
        help=f"{help}; can be repeated",
    )


def tag(text: str) -> Tag:
    """``release=9.1``, as it is kept."""
    key, equals, value = text.partition("=")
    if not equals or not word(key):
        raise argparse.ArgumentTypeError(f"{text!r} is no tag: give a key and a value, KEY=VALUE")
    return word(key), word(value)
