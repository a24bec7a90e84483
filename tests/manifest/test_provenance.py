"""Of which test an environment was exported: what a stranger's manifest may say of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.manifest.check import check_manifest
from devops_snapshot.manifest.document import (
    LONGEST_LINE,
    LONGEST_TRACEBACK,
    LONGEST_WORD,
    MOST_FACTS,
)

from .real import document, manifest_of

FULL: dict[str, Any] = {
    "name": "n" * LONGEST_LINE,
    "outcome": "failed",
    "exception": "e" * LONGEST_LINE,
    "traceback": "t" * LONGEST_TRACEBACK,
    "job": "j" * LONGEST_WORD,
    "build": "b" * LONGEST_WORD,
    "url": "u" * LONGEST_LINE,
    "commits": {str(n): "c" * LONGEST_WORD for n in range(MOST_FACTS)},
    "release": "r" * LONGEST_WORD,
    "duration_seconds": 1e9,
}
"""All there can be of each."""


def told(**provenance: Any) -> dict[str, Any]:
    changed = document()
    changed["provenance"].update(provenance)
    return changed


def test_a_manifest_of_an_earlier_release_is_of_no_test() -> None:
    provenance = manifest_of(document()).provenance
    assert (provenance.test, provenance.tags) == (None, {})


def test_all_of_it_is_kept_also_what_a_later_release_adds() -> None:
    manifest = manifest_of(told(test={**FULL, "retries": [1, 2]}, tags={"release": "9.1"}))
    check_manifest(manifest)
    saved = json.loads(manifest.to_json())["provenance"]
    assert saved["test"] == {**FULL, "retries": [1, 2]}
    assert saved["tags"] == {"release": "9.1"}


def test_name_and_outcome_suffice() -> None:
    test = manifest_of(told(test={"name": "x", "outcome": "error"})).provenance.test
    assert test is not None
    assert (test.job, test.commits, test.duration_seconds) == (None, {}, None)


@pytest.mark.parametrize("field", [name for name, value in FULL.items() if isinstance(value, str)])
def test_a_text_that_is_too_long(field: str) -> None:
    with pytest.raises(FormatError, match=rf"provenance\.test\.{field}: "):
        manifest_of(told(test={**FULL, field: f"{FULL[field]}x"}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("outcome", "lucky"),
        ("duration_seconds", -1),
        ("duration_seconds", float("inf")),
        ("duration_seconds", 1e300),
        ("commits", {"x": "y" * (LONGEST_WORD + 1)}),
        ("commits", {"x" * (LONGEST_WORD + 1): "y"}),
        ("commits", {str(n): "" for n in range(MOST_FACTS + 1)}),
        ("commits", ["x"]),
        ("job", 5),
    ],
)
def test_a_test_that_makes_no_sense(field: str, value: object) -> None:
    with pytest.raises(FormatError, match=rf"provenance\.test\.{field}") as caught:
        manifest_of(told(test={**FULL, field: value}))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "tags", [None, [], {"x": 1}, {"x": "y" * 256}, {str(n): "" for n in range(33)}]
)
def test_tags_that_make_no_sense(tags: object) -> None:
    with pytest.raises(FormatError, match=r"provenance\.tags"):
        manifest_of(told(tags=tags))


def test_a_million_tags_are_one_mistake() -> None:
    with pytest.raises(FormatError, match="100000 items, 32 are the most"):
        manifest_of(told(tags={str(n): n for n in range(100_000)}))
