"""What the commands that list environments have in common."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from django.core.management.base import CommandParser

from devops_snapshot.errors import DevopsError, NotFoundError

from .models import Environment
from .models.base import utcnow

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Table = tuple[list[str], list[list[str]]]
"""Headers and rows."""


def add_listing_arguments(parser: CommandParser) -> None:
    """``--ips`` and ``--timestamps``."""
    parser.add_argument(
        "--ips", dest="list_ips", action="store_true", help="show admin node ip addresses"
    )
    parser.add_argument("--timestamps", action="store_true", help="show creation timestamps")


def add_lifetime_argument(parser: CommandParser) -> None:
    """How old an environment has to be (``options["env_lifetime"]``)."""
    parser.add_argument(
        "env_lifetime", help="environments older than this are meant: 90s, 45m, 12h, 3d"
    )


def older_than(lifetime: str) -> list[Environment]:
    """The environments that were made longer ago than ``lifetime``, such as ``12h``."""
    number, unit = lifetime[:-1], lifetime[-1:]
    if not number.isdigit() or unit not in SECONDS:
        raise DevopsError(f"{lifetime!r} is no time span", hint="Write it as 90s, 45m, 12h or 3d")
    latest = utcnow() - timedelta(seconds=int(number) * SECONDS[unit])
    return list(Environment.list_all().filter(created__lt=latest).order_by("name"))


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
