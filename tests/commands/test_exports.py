"""Commands that keep, delete and verify exports: what they say, and their exit codes."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

import pytest

from devops_snapshot.errors import DevopsError
from devops_snapshot.management.each import for_each
from devops_snapshot.remote.patience import ConnectionLost
from devops_snapshot.shell import main
from devops_snapshot.store.format.sealed import seal

from .conftest import MANIFEST, Node, resealed

COMMANDS = [
    "delete-export",
    "undelete-export",
    "pin-export",
    "unpin-export",
    "prune-exports",
    "verify-exports",
]
NEED_AN_EXPORT = {"delete-export", "pin-export", "unpin-export", "show-export"}


def test_delete_and_undelete(node: Node) -> None:
    first, second, third = (node.export(name) for name in ("one", "two", "three"))
    done = node.dos("delete-export", first, second)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        f"Deleted {export_id}; undelete-export brings it back" for export_id in (first, second)
    ]
    assert node.ids() == [third]
    listed = node.dos("undelete-export")
    assert [row[:2] for row in listed.rows] == [[first, "one"], [second, "two"]]
    assert node.dos("undelete-export", "--json").json == {"deleted": [first, second]}
    done = node.dos("undelete-export", first, "--json")
    assert (done.code, done.json) == (0, {"undeleted": [first], "failed": {}})
    assert node.ids() == [first, third]
    assert node.dos("storage-collect", node.url).code == 0
    done = node.dos("undelete-export", second)
    assert done.code == 3
    assert done.err.startswith(f"Error: There is no deleted export '{second}'")
    assert done.err.endswith(
        ". 'dos.py list-exports --deleted' shows what collections have left to bring back\n"
    )
    assert done.err.endswith(node.dos("undelete-export", "1999").err[-60:])


def test_the_beginning_of_an_id(node: Node) -> None:
    first, second = node.export("one"), node.export("two")
    done = node.dos("delete-export", "20")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"'20' could be any of 2 exports: {first}, {second}" in done.err
    assert node.dos("delete-export", first[:-1]).code == 0
    assert node.ids() == [second]
    assert node.dos("delete-export", "2").code == 0
    assert node.dos("undelete-export", first[:-1]).code == 0
    assert node.ids() == [first]


@pytest.mark.parametrize("command", ["delete-export", "undelete-export", "unpin-export"])
def test_latest_is_too_vague_to_delete(node: Node, command: str) -> None:
    export_id = node.export("one")
    for name in ("latest", "latest:one"):
        done = node.dos(command, name)
        assert (done.code, done.out) == (1, "")
        assert done.err == (
            f"Error: {name!r} may be another export by now. Give the id, or the beginning of one\n"
        )
    assert node.ids() == [export_id]


def test_one_that_fails_does_not_stop_the_others(node: Node) -> None:
    one, two, three = (node.export(name) for name in ("one", "two", "three"))
    nobody = "20200101T000000Z-00000000"
    done = node.dos("pin-export", two, "latest:nowhere", "latest:one", two[:-1])
    assert done.err.splitlines() == [
        f"Pinned {two}",
        "Not pinned: there is no export of environment 'nowhere' in this repository. "
        "'dos.py list-exports' shows what there is",
        f"Pinned {one}",
        "Error: 1 of 3 exports was not pinned, as told above",
    ]
    assert done.code == 3
    node.dos("unpin-export", one)
    done = node.dos("delete-export", nobody, one, two, "1999", three, "latest", "--json")
    assert done.code == 4  # 3 for those that are not there, 4 for the pinned one, 1 for the vague
    assert done.json["deleted"] == [one, three]
    assert list(done.json["failed"]) == [nobody, two, "1999", "latest"]
    assert done.json["failed"][two] == f"Export {two} is pinned. Unpin it first"
    assert done.err.count("\n") == 2 + 4 + 1
    assert done.err.endswith("Error: 4 of 6 exports were not deleted, as told above\n")
    assert node.ids() == [two]
    done = node.dos("undelete-export", nobody, three)
    assert (done.code, node.ids()) == (3, [two, three])
    done = node.dos("unpin-export", three, two, "--json")
    assert (done.code, done.json["unpinned"]) == (3, [two])
    assert done.json["failed"][three].startswith(f"export {three} is not pinned")


def test_a_storage_node_that_is_away_is_not_asked_for_each(node: Node) -> None:
    """To try to reach it takes a minute."""
    asked = []

    def act(export_id: str) -> None:
        asked.append(export_id)
        if export_id == "b":
            raise ConnectionLost("it was cut")

    told: list[str] = []
    outcome = for_each(list("abcd"), find=str, act=act, participle="deleted", tell=told.append)
    assert (asked, outcome.done, list(outcome.failed)) == (["a", "b"], ["a"], ["b", "c", "d"])
    assert told == ["Not deleted: it was cut"]
    with pytest.raises(DevopsError, match="3 of 4 exports were not deleted") as caught:
        outcome.raise_failures()
    assert caught.value.exit_code == 6


def test_a_pin_of_another_is_left_to_him(node: Node) -> None:
    export_id = node.export("one")
    node.dos("pin-export", export_id, "--by", "Ann")
    done = node.dos("pin-export", export_id, "--by", "Bob")
    assert (done.code, done.err) == (0, f"{export_id} was pinned already, by Ann\n")


@pytest.mark.parametrize(
    "command", ["delete-export", "pin-export", "unpin-export", "verify-exports"]
)
@pytest.mark.parametrize("name", ["1999", "20200101T000000Z-00000000", ""])
def test_an_export_that_does_not_exist(node: Node, command: str, name: str) -> None:
    node.export("one")
    done = node.dos(command, name)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Error: ")
    assert repr(name) in done.err or name in done.err
    assert done.err.count("\n") == 1


def test_pins(node: Node) -> None:
    first, second = (node.export(name, manifest=MANIFEST, old=True) for name in ("one", "two"))
    done = node.dos("pin-export", "latest:one", "--by", "Ann, bug 12")
    assert (done.code, done.out, done.err) == (0, "", f"Pinned {first}\n")
    assert b"Ann, bug 12" in (node.directory / f"pins/{first}").read_bytes()
    [pinned, other] = node.dos("list-exports").out.splitlines()[2:]
    assert pinned.endswith("  pinned by Ann, bug 12")
    assert other.endswith("  now")
    assert [
        (one["pinned"], one["pinned_by"]) for one in node.dos("list-exports", "--json").json
    ] == [
        (True, "Ann, bug 12"),
        (False, None),
    ]
    assert "Pinned:        by Ann, bug 12\n" in node.dos("show-export", first).out
    assert "Pinned:        no\n" in node.dos("show-export", second).out
    assert node.dos("show-export", first, "--json").json["pinned_by"] == "Ann, bug 12"
    done = node.dos("delete-export", first)
    assert (done.code, done.err) == (4, f"Error: Export {first} is pinned. Unpin it first\n")
    assert node.dos("prune-exports", "--json").json["deleted"] == [second]
    assert node.ids() == [first]
    done = node.dos("unpin-export", first[:-2], "--json")
    assert (done.code, done.json) == (0, {"unpinned": [first], "failed": {}})
    assert node.dos("unpin-export", first).code == 3
    assert node.dos("delete-export", first).code == 0


def test_who_pinned_it_is_one_short_line(node: Node) -> None:
    """Whatever was typed, and whatever somebody else has written there."""
    first, second = node.export("one"), node.export("two")
    node.dos("pin-export", first, "--by", f"Ann\n\x1b[2Jgone \u202e{'x' * 1000}")
    raw = (node.directory / f"pins/{first}").read_bytes()
    assert b"Ann [2Jgone xxx" in raw
    assert len(raw) < 500
    forged = {"by": f"Eve\x1b[2J\n{'y' * 1000}", "when": "2026-11-22T21:31:26+00:00"}
    (node.directory / f"pins/{second}").write_bytes(seal("pin", forged))
    by = [one["pinned_by"] for one in node.dos("list-exports", "--json").json]
    assert by == [f"Ann [2Jgone {'x' * 87}…", f"Eve [2J {'y' * 91}…"]


def test_who_pinned_it_is_asked_again_after_a_change(node: Node) -> None:
    """What this machine remembers of a pin is good for that pin alone."""
    export_id = node.export("one")

    def pinned_by() -> str | None:
        [one] = node.dos("list-exports", "--json").json
        return str(one["pinned_by"]) if one["pinned"] else None

    for by in ("Ann", "Bob"):
        assert pinned_by() is None
        node.dos("pin-export", export_id, "--by", by)
        assert [pinned_by(), pinned_by()] == [by, by]
        node.dos("unpin-export", export_id)


@pytest.mark.parametrize(
    "content", [b"", b"x\n", seal("pin", {}), seal("pin", {"by": ["Ann"], "when": 1}), b"x" * 9999]
)
def test_a_damaged_pin_still_holds(node: Node, content: bytes) -> None:
    export_id = node.export("one", old=True)
    (node.directory / "pins").mkdir(exist_ok=True)
    (node.directory / f"pins/{export_id}").write_bytes(content)
    done = node.dos("list-exports")
    assert done.code == 0
    assert "  pinned" in done.out
    assert [one["pinned"] for one in node.dos("list-exports", "--json").json] == [True]
    assert node.dos("prune-exports", "--json").json["deleted"] == []


def test_a_damaged_export_can_be_deleted(node: Node) -> None:
    export_id = node.export("one")
    (node.directory / f"exports/{export_id}.json").write_bytes(b"x")
    assert node.dos("delete-export", export_id).code == 0
    assert list((node.directory / "exports").iterdir()) == []


def test_prune(node: Node) -> None:
    old = node.export("old", old=True)
    long = node.export("long", old=True, keep=timedelta(days=60))
    young = node.export("young")
    dry = node.dos("prune-exports", "--dry-run")
    assert dry.code == 0
    assert [row[:4] for row in dry.rows] == [[old, "old", "30", "days"]]
    assert dry.err.startswith("Would delete 1 export, 2 stay; storage-collect then frees 9")
    assert node.ids() == [old, long, young]
    done = node.dos("prune-exports")
    assert (done.code, done.rows[0][0]) == (0, old)
    assert done.err.startswith("Deleted 1 export, 2 stay")
    done = node.dos("prune-exports", "--max-size", "150K", "--json")
    assert done.json["deleted"] == [long]
    assert node.ids() == [young]
    done = node.dos("prune-exports", "--max-size", "1K")
    assert node.ids() == [young]  # of less than min_age
    assert "What is protected takes 9" in done.err
    collected = node.dos("storage-collect", node.url, "--json").json
    assert sorted(collected["discarded"]) == sorted([old, long])
    assert collected["packs"] == 2
    assert collected["freed"] > 190_000


@pytest.mark.parametrize("size", ["20X", "-1", "T", "1,5T", ""])
def test_sizes_that_make_no_sense(node: Node, size: str) -> None:
    done = node.dos("prune-exports", f"--max-size={size}")
    assert done.code == 2
    assert f"{size!r} is no size: give a number and a unit" in done.err


def test_verify(node: Node) -> None:
    first, second = node.export("one"), node.export("two")
    done = node.dos("verify-exports")
    assert (done.code, done.out) == (0, "")
    assert done.err == "No damage in 2 exports (2 layers, 2 packs)\n"
    assert "KiB read)" in node.dos("verify-exports", "--read-data").err
    [pack] = node.directory.glob(f"packs/*/{first[-8:]}*")
    content = pack.read_bytes()
    pack.write_bytes(content[:1000] + b"??" + content[1002:])
    done = node.dos("verify-exports", "--read-data")
    assert done.code == 7
    assert done.rows[0][:2] == ["pack", str(pack.relative_to(node.directory))]
    assert done.rows[0][-1] == first
    assert done.err == (
        "Error: 1 damaged object; 1 of 2 exports cannot be imported. "
        "Exporting the same data again heals it\n"
    )
    done = node.dos("verify-exports", "latest:two", "--read-data", "--json")
    assert (done.code, done.json["exports"]) == (0, 1)
    assert done.err.endswith("; 1 damaged object not needed by what was verified\n")
    done = node.dos("verify-exports", first, "--json")
    assert done.code == 7
    assert done.json["damaged_exports"] == [first]
    assert done.json["findings"][0]["exports"] == [first]
    assert node.dos("storage-status", node.url, "--json").json["damaged"] == 1
    again = node.export("one")
    done = node.dos("verify-exports", "--read-data")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith("; 1 damaged object no longer needed\n")
    assert node.ids() == [first, second, again]


def test_verify_says_what_to_do(node: Node) -> None:
    """It depends on what is damaged."""
    one, two = node.export("one"), node.export("two")
    node.dos("pin-export", one)
    node.dos("storage-configure", node.url, "--keep", "9d")
    node.dos("delete-export", two)

    def remedy_of(path: str, content: bytes = b"x\n") -> str:
        [file] = node.directory.glob(path)
        whole = file.read_bytes()
        file.write_bytes(content)
        done = node.dos("verify-exports")
        file.write_bytes(whole)
        node.dos("verify-exports")
        assert done.code == 7
        assert done.err.startswith("Error: 1 damaged object; ")
        return done.err.partition("cannot be imported. ")[2].rstrip("\n")

    heals = "Exporting the same data again heals it"
    assert remedy_of(f"packs/*/{one[-8:]}*") == heals
    assert remedy_of(f"layers/*/*.{one[-8:]}*") == heals
    unused = "No export needs what is damaged, and none will rely on it"
    assert remedy_of(f"packs/*/{two[-8:]}*") == unused
    gone = "It cannot be imported any more: delete-export gives it up"
    assert remedy_of(f"exports/{one}.json") == gone
    deleted = "It cannot be undeleted any more: the next storage-collect removes it"
    assert remedy_of(f"deleted/{two}.json") == deleted
    settings = "storage-configure with both --keep and --min-age writes new ones"
    assert remedy_of("settings/00000001.json") == settings
    assert remedy_of(f"pins/{one}").startswith("It holds all the same: unpin-export, then")
    removable = "No export depends on it: it may be removed by hand"
    assert remedy_of(f"samples/{one[-8:]}*") == removable
    newer = resealed((node.directory / f"exports/{one}.json").read_bytes(), version=2)
    update = "A newer release of devops_snapshot wrote it: update this one"
    assert remedy_of(f"exports/{one}.json", newer) == update

    for path in (f"pins/{one}", f"exports/{one}.json", "settings/00000001.json"):
        (node.directory / path).write_bytes(b"x\n")
    done = node.dos("verify-exports", "--json")
    told = {finding["kind"]: finding["remedy"] for finding in done.json["findings"]}
    assert (told["settings"], told["export"]) == (settings, gone)
    assert f"settings: {settings}\n" in done.err
    assert f"export: {gone}\n" in done.err
    assert done.err.endswith("Error: 3 damaged objects; 1 of 1 export cannot be imported\n")


def test_verify_a_repository_without_exports(node: Node) -> None:
    done = node.dos("verify-exports")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"No damage; there are no exports at {node.url}\n"


@pytest.mark.parametrize(
    "head",
    [
        {
            "summary": {
                "environment": 5,
                "snapshots": "abc",
                "nodes": 7,
                "size": "big",
                "host": None,
            }
        },
        {"summary": {"snapshots": [1], "description": ["x"], "nodes": {}, "size": -5, "id": "0"}},
        {"summary": {"snapshots": 5, "nodes": None, "size": 1e300, "deleted": True}},
        {"summary": []},
        {"summary": "abc"},
        {"published": "2026-11-22T21:31:26"},
        {"published": "0001-01-01T00:00:00+00:00"},
        {"published": 5},
        {"keep_seconds": 1e300},
        {"keep_seconds": "long"},
        {"keep_seconds": -5},
        {"features": 5},
    ],
    ids=str,
)
def test_an_odd_export_hides_no_other(node: Node, head: dict[str, Any]) -> None:
    """Whatever a stranger, or another release, has written."""
    sound, odd, gone = (node.export(name) for name in ("one", "two", "three"))
    for export_id in (odd, gone):
        path = node.directory / f"exports/{export_id}.json"
        path.write_bytes(resealed(path.read_bytes(), **head))
    shutil.rmtree(node.directory.parent / "cache")
    assert node.dos("delete-export", gone).code == 0
    for command in (["list-exports"], ["undelete-export"], ["list-exports", "--deleted"]):
        assert node.dos(*command).code == 0
    listed = {one["id"]: one for one in node.dos("list-exports", "--json").json}
    assert sound in listed
    assert set(listed) <= {sound, odd}
    assert not any(one["deleted"] for one in listed.values())
    assert node.dos("storage-status", node.url).code == 0
    assert node.dos("prune-exports", "--max-size", "1K").code == 0
    assert sound in node.ids()


def test_nothing_to_show(node: Node) -> None:
    """One line for people, on standard error: what programs read stays as it is."""

    def said(*command: str) -> str:
        done = node.dos(*command)
        assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
        return done.err.rstrip("\n").removesuffix(f" at {node.url}")

    assert said("list-exports") == "There are no exports"
    assert said("list-exports", "--deleted") == "There are no deleted exports"
    assert said("list-exports", "--env", "x") == "There are no exports of environment 'x'"
    assert said("undelete-export") == "There are no deleted exports"
    assert said("prune-exports").startswith("Deleted 0 exports, 0 stay;")
    for command in (["list-exports"], ["list-exports", "--deleted"], ["undelete-export"]):
        done = node.dos(*command, "--json")
        assert (done.err, done.json) == ("", {"deleted": []} if len(command[0]) > 12 else [])


@pytest.mark.parametrize("command", COMMANDS)
def test_help(node: Node, command: str) -> None:
    done = node.dos(command, "--help")
    assert done.code == 0
    assert f"\nexamples:\n  dos.py {command}" in done.out
    assert "--json" in done.out


@pytest.mark.parametrize("command", [*COMMANDS, "list-exports", "show-export"])
def test_a_url_that_makes_no_sense(capsys: pytest.CaptureFixture[str], command: str) -> None:
    needed = ["20"] if command in NEED_AN_EXPORT else []
    assert main([command, *needed, "--storage", "storage:/srv/devops"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Error: Storage URL 'storage:/srv/devops' has the unknown scheme")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_no_repository_there(node: Node, command: str) -> None:
    needed = ["20"] if command in NEED_AN_EXPORT else []
    node.directory = node.directory / "nothing"
    done = node.dos(command, *needed)
    assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
    assert f"There is no repository at {node.url}" in done.err
