"""Rows of copies beside those of the original, and network filters, which are called after rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.reshape import reshape, spelled_apart
from devops_snapshot.importer.reshape.macs import plain_mac
from devops_snapshot.manifest import document as d
from devops_snapshot.manifest.check import check_manifest, definition_of
from devops_snapshot.manifest.spelled import original_mac, original_subnet
from tests.manifest.real import document, manifest_of

from .looking import few, macs
from .made_up import manifests


@few
@given(manifests(), st.integers(1, 20))
def test_copies_have_rows_of_their_own_that_mean_the_same(
    manifest: d.Manifest, copies: int
) -> None:
    taken_macs: set[str] = set()
    taken_subnets: set[str] = set()
    for _ in range(copies):
        copy = spelled_apart(manifest, macs=taken_macs, subnets=taken_subnets)
        check_manifest(copy)
        subnets = {pool.net for pool in copy.environment.address_pools}
        assert not macs(copy) & taken_macs
        assert not subnets & taken_subnets
        assert {plain_mac(mac) for mac in macs(copy)} == {plain_mac(m) for m in macs(manifest)}
        assert as_written_before(copy) == as_written_before(manifest)
        taken_macs |= macs(copy)
        taken_subnets |= subnets
    assert spelled_apart(manifest) == manifest


def as_written_before(manifest: d.Manifest) -> list[str]:
    """What an export of it tells."""
    environment = manifest.environment
    cards = [card for node in environment.nodes for card in node.interfaces]
    told = [original_mac(card.params, card.mac_address) for card in cards]
    return told + [original_subnet(pool.params, pool.net) for pool in environment.address_pools]


def test_an_address_without_letters_has_several_spellings_too() -> None:
    manifest = manifest_of(
        json.loads(json.dumps(document()).replace("64:ec:28:30:d9:48", "64:11:28:30:99:48"))
    )
    taken: set[str] = set()
    for _ in range(32):
        taken |= macs(spelled_apart(manifest, macs=taken))
    assert sum(plain_mac(mac) == "641128309948" for mac in taken) == 32


def filtered() -> d.Manifest:
    """The real one, if its driver had ``enable_nwfilters``."""
    changed = document()
    group = changed["environment"]["groups"][0]
    names = {l2["id"]: f"trip_{l2['name']}" for l2 in group["l2_network_devices"]}
    for l2 in group["l2_network_devices"]:
        l2["nwfilter"] = {"name": names[l2["id"]], "includes": None, "blocked": False}
    for node in group["nodes"]:
        for card in node["interfaces"]:
            includes = names[card["l2_network_device"]]
            name = f"{includes}_{card['mac_address']}"
            card["nwfilter"] = {"name": name, "includes": includes, "blocked": True}
            for owner, key, quote in [
                (node, "domain_xml", '"'),
                *((snapshot, "xml", "'") for snapshot in node["snapshots"]),
            ]:
                source = f"<source network={quote}{includes}{quote}/>"
                assert source in owner[key]
                owner[key] = owner[key].replace(source, f"{source}<filterref filter='{name}'/>")
    return manifest_of(changed)


@pytest.mark.parametrize("disks", [False, True])
def test_network_filters_follow(disks: bool) -> None:
    manifest = filtered()
    check_manifest(manifest)
    shaped = reshape(manifest, Choices(name="copy", disks_only=disks))
    check_manifest(shaped)  # names and MAC addresses fit
    apart = spelled_apart(shaped, macs=macs(shaped))
    check_manifest(apart)
    for one in (shaped, apart):
        for node in one.environment.nodes:
            filters = {card.nwfilter.name for card in node.interfaces if card.nwfilter}
            assert definition_of(node).nwfilters == filters
            assert len(filters) == 2
            assert all(name.startswith("copy_") for name in filters)
    assert not macs(apart) & macs(shaped)
