"""What ``snapshot-list`` shows, on nodes that are off and on running guests."""

from __future__ import annotations

import datetime
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from devops_snapshot import snapshot as snapshots
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.snapshot.branches import ASCII, BOXES, NowLeaf, lines_of
from devops_snapshot.snapshot.metadata import snapshots_of
from devops_snapshot.snapshot.records import forget, remember
from devops_snapshot.snapshot.restore import redefine
from devops_snapshot.snapshot.tree import Now, Tree, TreeSnapshot, tree_of
from tests.devops.libvirt.builder import Builder

from .lab import BASE, Lab, disks

KIB = 1024


def listed(*options: str, encoding: str = "utf-8") -> str:
    """What the command writes to a terminal of that encoding."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    call_command("snapshot_list", "env", *options, stdout=out)
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]  # a BytesIO


def documents() -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in json.loads(listed("--json"))}


def names(text: str) -> list[str]:
    """The first column of a drawn tree, without its header."""
    header, *lines = text.splitlines()
    width = header.index("  CREATED")
    return [line[:width].rstrip() for line in lines]


def write(shelf: Builder, node: str, size: int) -> None:
    """Fill the beginning of a node's disk, whatever stands beneath it."""
    domain = shelf.environment.get_node(name=node).domain
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P 7 0 {size}", disks(domain)["sda"]]
    subprocess.run(command, check=True, capture_output=True)


def virsh(shelf: Builder, *arguments: str) -> None:
    subprocess.run(["virsh", "-c", shelf.host.uri, *arguments], check=True, capture_output=True)


def on_disk(*paths: str) -> int:
    return sum(Path(path).stat().st_blocks * 512 for path in paths)


@pytest.fixture
def grown(shelf: Builder) -> Builder:
    """``first`` with the branches ``left`` (and ``leaf`` on it) and ``right``; now is on that."""
    environment = shelf.environment
    for name in ("first", "left", "leaf"):
        snapshots.create(environment, name, description=f"the {name}")
        write(shelf, "a", 256 * KIB)
    snapshots.revert(environment, "first")
    snapshots.create(environment, "right")
    write(shelf, "a", 512 * KIB)
    remember(environment)
    return shelf


def test_the_tree_is_drawn(grown: Builder) -> None:
    tree = listed("--tree")
    assert names(tree) == ["first", "├─ left", "│  └─ leaf", "└─ right", "   └─ now"]
    assert re.search(r"├─ left +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  shutoff +[\d.]+ KiB\n", tree)
    assert re.search(r"└─ now {20,}[\d.]+ KiB\n", tree)
    assert len({len(line) for line in tree.splitlines()}) == 1  # sizes end at one column


def test_a_terminal_without_boxes_gets_ascii(grown: Builder) -> None:
    snapshots.create(grown.environment, "ünlucky")
    assert names(listed("--tree", encoding="ascii")) == [
        "first",
        "|- left",
        "|  `- leaf",
        "`- right",
        "   `- \\xfcnlucky",
        "      `- now",
    ]


def test_wide_characters_keep_the_columns(shelf: Builder) -> None:
    for name in ("日本語", "plain and longer"):
        snapshots.create(shelf.environment, name)
    first, second = listed("--tree").splitlines()[1:3]
    assert first.index("  2") + 3 == second.index("  2")  # each of the three takes two columns


def test_the_plain_table_is_what_jobs_parse(grown: Builder) -> None:
    lines = listed().splitlines()
    assert lines[0] == "SNAPSHOT    CREATED              NODES-NAMES"
    assert lines[1] == "----------  -------------------  -------------"
    assert {line.split()[0] for line in lines[2:]} == {"first", "left", "leaf", "right"}
    assert all(re.fullmatch(r"\w+ +\S+ \S+  a, b", line) for line in lines[2:])


def test_what_a_snapshot_holds_alone(grown: Builder) -> None:
    """The layers that it froze; those frozen by two are held by neither alone."""
    environment = grown.environment
    frozen = {
        name: [
            str(snapshots_of(node.domain)[name].frozen[0].path) for node in environment.get_nodes()
        ]
        for name in ("first", "left", "leaf", "right")
    }
    shown = documents()
    assert {name: item["disk_bytes"] for name, item in shown.items()} == {
        name: on_disk(*paths) for name, paths in frozen.items()
    }
    assert shown["left"]["disk_bytes"] - shown["right"]["disk_bytes"] >= 256 * KIB
    virsh(grown, "snapshot-create-as", "env_a", "inside")
    shared = snapshots_of(environment.get_node(name="a").domain)["inside"].xml
    assert documents()["inside"]["disk_bytes"] == 0
    redefine(
        environment.get_node(name="a").domain,
        shared.replace(disks(environment.get_node(name="a").domain)["sda"], frozen["left"][0]),
        current=False,
    )
    assert documents()["left"]["disk_bytes"] == on_disk(frozen["left"][1])


def test_the_document_for_programs(grown: Builder) -> None:
    left, right = documents()["left"], documents()["right"]
    assert datetime.datetime.fromisoformat(left["created"]).tzinfo is not None
    expected = {
        "name": "left",
        "description": "the left",
        "nodes": ["a", "b"],
        "parent": "first",
        "states": {"a": "shutoff", "b": "shutoff"},
        "internal": [],
        "missing": [],
        "complete": True,
        "memory_bytes": 0,
        "freeze_seconds": None,
        "now": [],
    }
    assert {key: left[key] for key in expected} == expected
    assert right["now"] == ["a", "b"]
    whole = json.loads(listed("--json", "--tree"))
    assert whole["snapshots"] == list(documents().values())
    active = {node.name: disks(node.domain)["sda"] for node in grown.environment.get_nodes()}
    assert whole["now"] == [
        {"node": name, "snapshot": "right", "disk_bytes": on_disk(path)}
        for name, path in active.items()
    ]


def test_what_virsh_deleted_is_marked(grown: Builder) -> None:
    sizes = {name: item["disk_bytes"] for name, item in documents().items()}
    virsh(grown, "snapshot-delete", "--metadata", "env_a", "leaf")
    assert "leaf" in listed()
    assert re.search(r"leaf .*  missing in libvirt on a\n", listed("--tree"))
    virsh(grown, "snapshot-delete", "--metadata", "env_b", "leaf")
    assert re.search(r"leaf .*  missing in libvirt\n", listed("--tree"))
    assert "leaf" not in listed()
    item = documents()["leaf"]
    assert (item["missing"], item["parent"]) == (["a", "b"], "left")
    assert item["disk_bytes"] == sizes["leaf"]  # its layers are still there


def test_a_snapshot_whose_taking_was_killed_is_marked(grown: Builder) -> None:
    EnvironmentSnapshot.objects.create(
        environment_id=grown.environment.id, name="half", underway="taking"
    )
    assert re.search(r"\nhalf .*  unfinished\n", listed("--tree"))
    assert documents()["half"]["complete"] is False
    assert "half" not in listed()


def test_nodes_that_go_their_own_ways(grown: Builder) -> None:
    """A snapshot of one node, by virsh: only that one's "now" descends from it."""
    virsh(grown, "snapshot-create-as", "env_a", "inside")
    tree = listed("--tree")
    assert names(tree)[-4:] == ["└─ right", "   ├─ inside", "   │  └─ now (a)", "   └─ now (b)"]
    assert re.search(r"inside .*  shutoff, internal +-  only a\n", tree)
    assert documents()["inside"]["internal"] == ["a"]


def test_disk_only(shelf: Builder) -> None:
    """So libvirt calls a snapshot of a running guest without its memory."""
    snapshots.create(shelf.environment, "disks")
    domain = shelf.environment.get_node(name="a").domain
    xml = snapshots_of(domain)["disks"].xml
    virsh(shelf, "snapshot-delete", "--metadata", "env_a", "disks")
    redefine(domain, xml.replace("<state>shutoff</state>", "<state>disk-snapshot</state>"))
    assert documents()["disks"]["states"] == {"a": "disk-only", "b": "shutoff"}
    assert "  disk-only+shutoff  " in listed("--tree")


def test_an_environment_without_snapshots(shelf: Builder) -> None:
    assert listed() == ""
    assert documents() == {}
    assert names(listed("--tree")) == ["now"]


def test_running_guests_and_the_memory_that_two_share(lab: Lab) -> None:
    lab.take("still", resume=False)
    shown = documents()
    assert shown[BASE]["states"] == {"one": "running", "two": "running", "off": "shutoff"}
    assert shown["still"]["memory_bytes"] == on_disk(*map(str, lab.memories("still"))) > 1 << 20
    assert shown["still"]["freeze_seconds"] > 0
    assert re.search(r"still .*  running\+shutoff  ", listed("--tree"))
    lab.take("again")  # the guests have not run since: it needs no memory of its own
    shown = documents()
    assert lab.memories("again") == lab.memories("still")
    assert shown["still"]["memory_bytes"] == shown["again"]["memory_bytes"] == 0
    assert shown["again"]["states"]["one"] == "paused"


def test_what_waits_to_be_merged_is_told(
    grown: Builder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told beside the list, which programs parse."""
    assert json.loads(listed("--json", "--tree"))["waiting"] == []
    before = listed()
    assert capsys.readouterr().err == ""
    node = grown.environment.get_node(name="a")
    layer = node.disk_devices[0].volume.backing_store  # what "right" froze
    for name in ("env_a", "env_b"):
        virsh(grown, "snapshot-delete", "--metadata", name, "right")
    forget(grown.environment, "right")
    for options in ((), ("--tree",), ("--json",)):
        listed(*options)
        told = capsys.readouterr().err
        assert told.startswith("2 layers (")
        assert f") wait to be merged: a {layer.name}: " in told
        assert told.count("\n") == 1
    [gone] = set(before.splitlines()) - set(listed().splitlines())
    assert gone.startswith("right ")
    waits = json.loads(listed("--json", "--tree"))["waiting"]
    assert [item["node"] for item in waits] == ["a", "b"]
    assert (waits[0]["path"], waits[0]["size"]) == (layer.uuid, on_disk(layer.uuid))


# Drawing alone


def item(name: str, parent: str | None, *, age: int = 0) -> TreeSnapshot:
    created = datetime.datetime.fromtimestamp(age, datetime.timezone.utc)
    return TreeSnapshot(name, parent, created, "", {}, (), (), True, 0, 0, None, ())


def drawn(*items: TreeSnapshot) -> list[str]:
    tree = Tree(items, (Now("a", items[-1].name, 1), Now("b", None, 2)))
    return [
        line.prefix + (line.entry.name if isinstance(line.entry, TreeSnapshot) else "now")
        for line in lines_of(tree, ASCII)
    ]


def test_parents_in_a_circle_are_shown_all_the_same() -> None:
    assert drawn(item("x", "y"), item("y", "x"), item("z", "y")) == [
        "now",
        "x",
        "`- y",
        "   `- z",
        "      `- now",
    ]


def test_a_history_of_thousands() -> None:
    deep = [item(str(number), str(number - 1) if number else None) for number in range(3000)]
    assert len(drawn(*deep)) == 3002


def test_now_of_some_nodes_is_told_apart() -> None:
    tree = Tree((item("x", None),), (Now("a", "x", 1), Now("b", "x", 2), Now("c", None, 4)))
    leaves = [line.entry for line in lines_of(tree, BOXES) if isinstance(line.entry, NowLeaf)]
    assert leaves == [NowLeaf(("a", "b"), 3), NowLeaf(("c",), 4)]


def test_where_nodes_disagree_the_youngest_parent_counts(grown: Builder) -> None:
    """On ``a`` the leaf descends from ``left``, on ``b`` from ``right``, which is younger."""
    domain = grown.environment.get_node(name="b").domain
    xml = snapshots_of(domain)["leaf"].xml
    redefine(
        domain,
        re.sub("<parent>.*?</parent>", "<parent><name>right</name></parent>", xml, flags=re.DOTALL),
        current=False,
    )
    tree = tree_of(grown.environment)
    parents = {snapshot.name: snapshot.parent for snapshot in tree.snapshots}
    assert parents == {"first": None, "left": "first", "leaf": "right", "right": "first"}
