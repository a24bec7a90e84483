"""What an attacker would write where something else belongs: values of JSON, texts, bytes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

TEXTS = (
    "",
    ".",
    "..",
    "../../../../tmp/escaped",
    "/etc/shadow",
    "/",
    "a/b",
    "-x",
    "x" * 300,
    "x\0y",
    "\x1b[2J\x07",
    "two\nlines",
    "\u202etxt.exe",
    "%s%n{0}{x.__class__}",
    "'\"><x/>&amp;&lt;]]>",
    "json:{}",
    "nbd:unix:/run/x",
    "\U0001f4a3",
    "9" * 5000,
    "a" * 70000,
    "0" * 64,
    "0" * 32,
    "0" * 32 + "-0",
    "20260101T000000Z-00000000",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-01T00:00:00",
)
NUMBERS = (
    -(10**30),
    -(2**63),
    -1,
    0,
    1,
    255,
    65535,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
)
STRUCTURES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [["a", "b"]],
    [{"a": []}],
    [1, "a", None],
)


class Raw(str):
    """Text that stands in the JSON as it is."""

    def __repr__(self) -> str:
        return f"Raw({str(self[:20])!r}...)"


_DEEP = 100_000
RAW = (
    Raw("[" * _DEEP + "]" * _DEEP),
    Raw('{"a":' * _DEEP + "1" + "}" * _DEEP),
    Raw("9" * 5000),
    Raw("-" + "9" * 5000),
    Raw("1e999"),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw('"\\ud800"'),
    Raw('"\\udfff\\ud800"'),
    Raw('"\\u0000"'),
    Raw('{"a":1,"a":[]}'),
    Raw("[1,]"),
    Raw("'x'"),
    Raw(""),
    Raw("1 2"),
)

_FIXED: tuple[Any, ...] = (*TEXTS, *NUMBERS, *STRUCTURES, *RAW)

values = st.one_of(
    st.integers(0, len(_FIXED) - 1).map(_FIXED.__getitem__),
    st.text(max_size=20),
    st.integers(),
    st.builds(lambda n: 1 << n, st.integers(0, 70)),
)


def to_json(document: Any) -> str:
    """The text, with what is :class:`Raw` as it is."""
    found: list[Raw] = []

    def hidden(value: Any) -> Any:
        if isinstance(value, Raw):
            found.append(value)
            return f"\ue000{len(found) - 1}\ue001"
        if isinstance(value, dict):
            return {key: hidden(item) for key, item in value.items()}
        return [hidden(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(hidden(document), ensure_ascii=False, separators=(",", ":"))
    return re.sub('"\ue000(\\d+)\ue001"', lambda match: found[int(match[1])], text)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is a value, from the top down."""
    yield path
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for key, value in items:
        yield from places(value, (*path, key))


@st.composite
def changed(draw: st.DrawFn, document: Any, *, most: int = 3) -> Any:
    """The document with one or more values replaced, lost, repeated or swapped."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from([place for place in places(document) if place]))
        holder, key = _at(document, path[:-1]), path[-1]
        how = draw(st.sampled_from(["replace", "replace", "replace", "lose", "repeat", "swap"]))
        if how == "lose":
            del holder[key]
        elif how == "repeat" and isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(holder[key])] * draw(st.sampled_from([1, 2, 300]))
        elif how == "swap":
            other = draw(st.sampled_from(list(places(document))))
            holder[key] = copy.deepcopy(_at(document, other))
        else:
            holder[key] = draw(values)
    return document


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def spoilt(draw: st.DrawFn, content: bytes, *, most: int = 3) -> bytes:
    """The bytes with some of them changed, lost or inserted."""
    spoilt = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(0, len(spoilt) - 1)))
        length = draw(st.sampled_from([1, 2, 4, 8, 20, 1000]))
        how = draw(st.sampled_from(["flip", "number", "cut", "lose", "insert", "repeat"]))
        if how == "flip" and spoilt:
            spoilt[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "number":
            number = draw(st.sampled_from([0, 1, 2**15, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
            order = draw(st.sampled_from(["little", "big"]))
            width = draw(st.sampled_from([4, 8]))
            spoilt[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, order)
        elif how == "cut":
            del spoilt[at:]
        elif how == "lose":
            del spoilt[at : at + length]
        elif how == "insert":
            spoilt[at:at] = draw(st.binary(max_size=64))
        else:
            spoilt[at:at] = spoilt[at : at + length]
    return bytes(spoilt)
