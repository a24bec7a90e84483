"""What ``list`` and ``list-old`` have in common: the table of environments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from django.core.management.base import CommandParser

from devops_snapshot.errors import NotFoundError

from .models import Environment

Table = tuple[list[str], list[list[str]]]
"""Headers and rows."""


def add_listing_arguments(parser: CommandParser) -> None:
    """``--ips`` and ``--timestamps``."""
    parser.add_argument(
        "--ips", dest="list_ips", action="store_true", help="show admin node ip addresses"
    )
    parser.add_argument("--timestamps", action="store_true", help="show creation timestamps")


def environment_table(
    environments: Iterable[Environment], *, list_ips: bool, timestamps: bool
) -> Table:
    """The environments by name, with the columns that were asked for."""
    headers = ["NAME", *["ADMIN IP"] * list_ips, *["CREATED"] * timestamps]
    rows = []
    for environment in sorted(environments, key=lambda environment: environment.name):
        row = [environment.name]
        if list_ips:
            row.append(_admin_ip(environment))
        if timestamps:
            row.append(local_time(environment.created).strftime("%Y-%m-%d_%H:%M:%S"))
        rows.append(row)
    return headers, rows


def _admin_ip(environment: Environment) -> str:
    try:
        return environment.get_admin_ip()
    except NotFoundError:
        return ""


def local_time(utc: datetime) -> datetime:
    """A naive UTC time in the time zone of this host."""
    return utc.replace(tzinfo=timezone.utc).astimezone()
