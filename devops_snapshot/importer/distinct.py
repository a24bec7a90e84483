"""Names that are all different."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count


def distinct(names: Iterable[str]) -> Iterator[str]:
    """Each name; where it was there before, with the next number behind it.

    However many there are of a name, each takes as long.
    """
    taken: set[str] = set()
    numbers: dict[str, Iterator[int]] = {}
    for wanted in names:
        name = wanted
        while name in taken:
            name = f"{wanted}-{next(numbers.setdefault(wanted, count()))}"
        taken.add(name)
        yield name
