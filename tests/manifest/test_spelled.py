"""Addresses of isolated copies are exported as they were written before."""

from __future__ import annotations

from typing import Any

import pytest

from devops_snapshot.manifest.spelled import keeping, original_mac, original_subnet, without_note

PARAMS = {"_class": "devops.models.network:AddressPool", "tag": None}


def test_what_was_kept_is_told_and_goes() -> None:
    assert original_mac(keeping(PARAMS, "64-ec-00-00-00-0a"), "64:EC:00:00:00:0A") == (
        "64-ec-00-00-00-0a"
    )
    assert original_subnet(keeping(PARAMS, "10.0.0.0/24"), "10.0.0.0/0024") == "10.0.0.0/24"
    assert without_note(keeping(PARAMS, "10.0.0.0/24")) == PARAMS


def test_rows_without_a_note_tell_what_they_say() -> None:
    assert original_mac({}, "64:EC:00:00:00:0A") == "64:EC:00:00:00:0A"
    assert original_subnet({}, "10.0.0.0/024") == "10.0.0.0/024"


@pytest.mark.parametrize(
    "note", ["64:ec:00:00:00:0b", "10.0.0.0/25", "10.0.1.0/24", "", "../..", None, 7, ["a"], {}]
)
def test_a_note_of_another_address_counts_for_nothing(note: Any) -> None:
    """Somebody has given the row another one meanwhile, or a manifest was forged."""
    assert original_mac({"spelled": note}, "64:EC:00:00:00:0A") == "64:EC:00:00:00:0A"
    assert original_subnet({"spelled": note}, "10.0.0.0/024") == "10.0.0.0/024"
