"""Snapshots, branches and deletions on running guests: every snapshot keeps what it held."""

from __future__ import annotations

from .lab import BASE, OFF, RUNNING, Lab, Seen


def grow(lab: Lab, *names: str) -> dict[str, Seen]:
    """Take these snapshots one after the other, each with something of its own."""
    held = {}
    for name in names:
        lab.write(name)
        held[name] = lab.seen()
        lab.take(name)
    assert len(set(held.values())) == len(names)
    return held


def test_branches_are_reverted_to_in_any_order_and_again(lab: Lab) -> None:
    held = {BASE: lab.seen()} | grow(lab, "left", "leaf")
    lab.revert("left")
    assert lab.seen() == held["left"]
    held |= grow(lab, "right")
    for name in ("leaf", BASE, "right"):
        lab.revert(name)
        assert lab.seen() == held[name], name
        assert lab.currents() == {name}
        assert lab.states() == [RUNNING, RUNNING, OFF]
        lab.write("this is thrown away")
        lab.check()


def test_what_stands_on_a_deleted_snapshot_stays(lab: Lab) -> None:
    held = {BASE: lab.seen()} | grow(lab, "first", "middle", "last")
    lab.write("now")
    now = lab.seen()
    lab.delete("middle")
    assert lab.seen() == now
    lab.check()
    lab.revert("last")
    assert lab.seen() == held["last"]
    lab.delete("last")
    assert lab.currents() == {"first"}
    assert lab.seen() == held["last"]
    lab.check()
    for node in lab.nodes.values():
        node.destroy()
    lab.delete("first")
    lab.check()
    lab.revert(BASE)
    assert lab.seen() == held[BASE]
    assert lab.names() == [BASE]


def test_the_root_can_go(lab: Lab) -> None:
    held = grow(lab, "second")
    lab.delete(BASE)
    assert lab.names() == ["second"]
    lab.check()
    lab.revert("second")
    assert lab.seen() == held["second"]
    lab.write("at first")
    lab.take(BASE)
