"""Making output as narrow as the terminal.

In a table some columns are left out, then long cells are cut; what else is told is wrapped.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence

from ..output import encodable

Row = Sequence[object]

_GAP = 2  # between two columns
_PADDING = 2  # that tabulate gives to headers
_NARROWEST = 13  # a cell is not cut below this
_NAME = 15  # what stands before a fact


def terminal_width() -> int | None:
    """Return the width of the terminal, or None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fact(name: str, value: str, *, width: int | None) -> str:
    """A line ``Name: value``, and more lines below the value if need be; its own are joined.

    :param width: in characters; None: one line, however long
    """
    start = f"{name + ':':<{_NAME}}"
    if width is None:
        return start + " ".join(value.splitlines())
    return textwrap.fill(
        value,
        max(width, 2 * _NAME),
        initial_indent=start,
        subsequent_indent=" " * _NAME,
        break_long_words=False,
        break_on_hyphens=False,
    )


def fit(
    headers: Sequence[str],
    rows: Sequence[Row],
    *,
    width: int | None,
    flexible: Collection[str],
    dispensable: Iterable[str] = (),
) -> tuple[Sequence[str], Sequence[Row]]:
    """Return headers and rows of a table that is no wider than ``width``, if that can be.

    :param width: in characters; None leaves all as it is
    :param flexible: headers of columns whose cells may be cut
    :param dispensable: headers of columns that may be left out, the least telling first
    """
    if width is None or not rows:
        return headers, rows
    widths = {
        name: max(len(name) + _PADDING, *(len(str(row[number])) for row in rows))
        for number, name in enumerate(headers)
    }
    least = {name: min(size, _NARROWEST) for name, size in widths.items() if name in flexible}
    for name in dispensable:
        if _total(widths | least) <= width:
            break
        del widths[name]
        least.pop(name, None)
    cut = {name: widths[name] for name in least}
    while _total(widths | cut) > width and cut != least:
        cut[max(cut, key=lambda name: cut[name] - least[name])] -= 1
    shown = [(number, cut.get(name)) for number, name in enumerate(headers) if name in widths]
    return list(widths), [[_shorten(row[number], size) for number, size in shown] for row in rows]


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _shorten(cell: object, width: int | None) -> object:
    text = str(cell)
    if width is None or len(text) <= width:
        return cell
    cut = "…" if encodable("…", sys.stdout.encoding) == "…" else "..."
    return text[: width - len(cut)] + cut
