"""The manifest as a document: its schema, its versions, and what it keeps without knowing it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.manifest import Manifest
from devops_snapshot.manifest.check import check_manifest
from devops_snapshot.manifest.schema import PUBLISHED, schema

from .real import PATH, document, manifest_of


def test_a_manifest_of_the_first_release_is_read_and_is_fine() -> None:
    manifest = Manifest.from_json(PATH.read_bytes())
    check_manifest(manifest)
    assert [node.name for node in manifest.environment.nodes] == ["node-1", "node-2"]
    assert manifest.current == "deployed"


def saved(changed: dict[str, Any]) -> dict[str, Any]:
    """The document after a load and a save, without what its release did not know."""
    again: dict[str, Any] = json.loads(manifest_of(changed).to_json())
    for group in again["environment"]["groups"]:
        cards = [card for node in group["nodes"] for card in node["interfaces"]]
        for row in (*group["l2_network_devices"], *cards):
            assert row.pop("nwfilter") is None
    assert again["provenance"].pop("test") is None
    assert again["provenance"].pop("tags") == {}
    return again


def test_a_load_and_a_save_change_nothing() -> None:
    assert saved(document()) == document()


def test_the_published_schema_is_what_the_types_imply() -> None:
    assert PUBLISHED.read_text() == schema()


def test_a_real_manifest_has_all_and_only_the_properties_of_the_published_schema() -> None:
    published = json.loads(PUBLISHED.read_text())
    assert conform(document(), published, published) > 300


def conform(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> int:
    """Check objects, arrays and types against a schema; returns how many values were seen."""
    if "$ref" in schema:
        return conform(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        options = schema["anyOf"]
        chosen = [o for o in options if (o.get("type") == "null") == (value is None)]
        return conform(value, chosen[0], root)
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
    kinds |= {"null": type(None), "number": (int, float)}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), (value, schema)
    assert value in schema.get("enum", [value])
    assert value == schema.get("const", value)
    seen = 1
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        seen += sum(conform(v, schema["properties"][k], root) for k, v in value.items())
    elif isinstance(value, list) and "items" in schema:
        seen += sum(conform(item, schema["items"], root) for item in value)
    return seen


def test_fields_of_a_later_release_survive() -> None:
    later = document()
    later["mood"] = "hopeful"
    later["environment"]["groups"][0]["nodes"][0]["colour"] = {"red": 1}
    later["files"][0]["checksums"] = ["a", "b"]
    assert saved(later) == later


@pytest.mark.parametrize(
    ("field", "value"), [("version", 2), ("format", "something else"), ("version", None)]
)
def test_another_version_is_refused_with_what_to_do(field: str, value: object) -> None:
    other = document()
    other[field] = value
    with pytest.raises(FormatError, match=rf"{field}: .*another version of devops_snapshot"):
        manifest_of(other)


def test_damage_is_located() -> None:
    damaged = document()
    damaged["environment"]["groups"][0]["nodes"][1]["interfaces"] = "none"
    with pytest.raises(FormatError, match=r"environment\.groups\.0\.nodes\.1\.interfaces"):
        manifest_of(damaged)
    with pytest.raises(FormatError, match="cannot be read"):
        Manifest.from_json(b"\x00{")
