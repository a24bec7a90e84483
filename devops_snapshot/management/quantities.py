"""Times and sizes as users type and read them: ``48h``, ``7d``, ``500G``, ``20T``."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

_DURATION = re.compile(r"(\d{1,6})([mhdw])", re.IGNORECASE)
_UNITS_OF_TIME = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)([KMGTP]?)(?:i?B)?", re.IGNORECASE)
_POWERS = "KMGTP"


def duration(text: str) -> timedelta:
    """``90m``, ``48h``, ``7d`` or ``2w``, as type of an argument."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration: give a number and a unit, such as 90m, 48h, 7d or 2w"
        )
    return int(match[1]) * _UNITS_OF_TIME[match[2].lower()]


def moment(text: str) -> datetime:
    """So long ago (as :func:`duration`), or a date with or without a time; type of an argument.

    What has no time zone is UTC, as in all listings.
    """
    if _DURATION.fullmatch(text.strip()):
        try:
            return datetime.now(timezone.utc) - duration(text)
        except OverflowError:
            return datetime.min.replace(tzinfo=timezone.utc)
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a duration nor a date: give one such as 36h, 2d, 2026-11-20 "
            "or '2026-11-20 14:30'"
        ) from None
    return given if given.tzinfo else given.replace(tzinfo=timezone.utc)


def size(text: str) -> int:
    """``500G``, ``20T``, ``1.5T``: bytes; units are powers of 1024, without one it is bytes."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: give a number and a unit (K, M, G, T or P), such as 500G or 20T"
        )
    power = _POWERS.index(match[2].upper()) + 1 if match[2] else 0
    return int(Decimal(match[1]) * 1024**power)


def human_duration(time: timedelta) -> str:
    """For people, to about two digits: ``40 s``, ``90 min``, ``48 h``, ``7 days``, ``3 years``."""
    seconds = time.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds <= 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    days = seconds / 86400
    if days > 2 * 365:
        return f"{days / 365:.0f} years"
    return f"{days:.1f} days" if days < 10 and days != int(days) else f"{days:.0f} days"


def counted(number: int, what: str) -> str:
    """``1 pack``, ``2 packs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
