"""Random steps on an environment that is real, beside a model of what each disk must contain.

``a`` has two qcow2 disks, one of them on a base image; ``b`` has a raw and a qcow2 one. No system
is on them: a node that is on stays in its BIOS, and what is written while it runs is written by its
QEMU. After every step the real environment is compared with the model, all snapshots included.
"""

from __future__ import annotations

import logging
import random
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lxml import etree

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.devops.models import Volume
from devops_snapshot.errors import ConflictError
from devops_snapshot.hypervisor import is_postmigrate, run_state
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.qcow2 import read_header
from devops_snapshot.snapshot import flatten
from devops_snapshot.snapshot.metadata import SnapshotMetadata, current_snapshot, snapshots_of
from tests.bed import Host
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import MIB, Builder

from .content import Reader, chain, still, write_live, write_offline
from .lab import define, disks
from .model import SIZES, Model, State, Write, writes_anywhere

LOG = logging.getLogger(__name__)

WRITES = st.lists(writes_anywhere(), min_size=1, max_size=4)
PICKS = st.integers(0, 99)
"""Which of those there are, counted from the newest."""
NODES = st.sampled_from([("a", "b"), ("a", "b"), ("a",), ("b",)])
SELDOM = st.sampled_from([False] * 5 + [True])


@dataclass(frozen=True)
class Seen:
    """What libvirt says of a node.

    :param now: disk target to file, as it runs; ``later`` after its next start
    :param open: disk target to all files that QEMU was given, top first
    """

    now: dict[str, str]
    later: dict[str, str]
    open: dict[str, list[Path]]
    current: str | None
    snapshots: dict[str, SnapshotMetadata]

    @classmethod
    def of(cls, domain: Any) -> Seen:
        return cls(
            now=disks(domain),
            later=disks(domain, libvirt.VIR_DOMAIN_XML_INACTIVE),
            open=_open(domain),
            current=current_snapshot(domain),
            snapshots=snapshots_of(domain),
        )

    @property
    def needed(self) -> set[str]:
        """The files that something has to be read through."""
        frozen = [disk for snapshot in self.snapshots.values() for disk in snapshot.snapshotted]
        return {*self.now.values(), *self.later.values(), *(str(disk.path) for disk in frozen)}


class Machine(RuleBasedStateMachine):
    """:param directory: for the database and the base image"""

    def __init__(self, host: Host, directory: Path) -> None:
        super().__init__()
        self.host = host
        self.reader = Reader(directory)
        self.number = 0
        self.spooled = host.directory / "spooled"
        self.holders: dict[Path, bytes] = {}
        self.may_wait: dict[str, bool] = dict.fromkeys(SIZES, False)
        with ExitStack() as stack:
            stack.callback(host.clean)
            stack.callback(self._let_go)
            self.spooled.mkdir(exist_ok=True)
            stack.enter_context(used_database(sqlite_environment(directory / "devops.sqlite3")))
            self._build(directory)
            self._exit = stack.pop_all()
        LOG.info("a new environment")

    def _build(self, directory: Path) -> None:
        content = random.Random(7).randbytes(300_000).ljust(SIZES["a"]["sda"], b"\0")
        (directory / "base.raw").write_bytes(content)
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "base.raw", "base.qcow2"]
        subprocess.run(command, check=True, cwd=directory)
        builder = Builder(self.host)
        builder.base_image(source_image=str(directory / "base.qcow2"))
        small = {"memory": 16, "has_vnc": False, "has_videocard": False, "boot": ["hd"]}
        on_base = {"name": "system", "backing_store": "base"}
        builder.node("a", volumes=[on_base, {"name": "data", "capacity": MIB}], **small)
        raw = {"name": "raw", "capacity": MIB, "format": "raw"}
        builder.node("b", volumes=[raw, {"name": "data", "capacity": 2 * MIB}], **small)
        define(builder)
        self.environment = builder.environment
        self.nodes: dict[str, LibvirtNode] = {
            node.name: node for node in self.environment.get_nodes()
        }
        self.domains = {name: node.domain for name, node in self.nodes.items()}
        self.models = {
            node: Model({disk: bytes(size) for disk, size in sizes.items()})
            for node, sizes in SIZES.items()
        }
        self.models["a"].disks["sda"] = content

    def teardown(self) -> None:
        self._exit.close()

    # What is there

    @property
    def names(self) -> list[str]:
        """All snapshots, newest first."""
        found = {name for model in self.models.values() for name in model.snapshots}
        return sorted(found, key=lambda name: -int(name[1:]))

    def _picked(self, pick: int) -> str:
        return self.names[pick % len(self.names)]

    def _in_state(self, *states: State) -> list[str]:
        return [node for node, model in self.models.items() if model.state in states]

    # Steps

    @initialize(on=NODES, writes=WRITES)
    def begin(self, on: Sequence[str], writes: Sequence[Write]) -> None:
        for node in on:
            self._run(node)
        self._write(writes)

    @precondition(lambda self: self._in_state("running", "shutoff"))
    @rule(writes=WRITES)
    def write(self, writes: Sequence[Write]) -> None:
        self._write(writes)

    @rule(
        writes=st.lists(writes_anywhere(), max_size=3),
        resume=st.booleans(),
        disk_only=SELDOM,
        nodes=NODES,
        cut=SELDOM,
    )
    def snapshot(
        self,
        writes: Sequence[Write],
        resume: bool,
        disk_only: bool,
        nodes: Sequence[str],
        cut: bool,
    ) -> None:
        self._write(writes)
        self.number += 1
        name = f"s{self.number}"
        LOG.info("snapshot %s of %s, resume=%s, disk_only=%s", name, nodes, resume, disk_only)
        try:
            snapshots.create(
                self.environment, name, resume=resume, disk_only=disk_only, nodes=nodes
            )
        except ConflictError as error:
            if not self._is_full(nodes):
                raise
            LOG.info("refused: %s", error)
            return
        for node in nodes:
            self.models[node].snapshot(name, resume=resume, disk_only=disk_only)
        if cut:
            self._cut_power(nodes)

    @precondition(lambda self: self.names)
    @rule(pick=PICKS, resume=st.booleans(), cut=SELDOM)
    def revert(self, pick: int, resume: bool, cut: bool) -> None:
        name = self._picked(pick)
        LOG.info("revert to %s, resume=%s", name, resume)
        snapshots.revert(self.environment, name, resume=resume)
        reverted = [node for node, model in self.models.items() if name in model.snapshots]
        for node in reverted:
            self.models[node].revert(name, resume=resume)
        self._tidied()
        if cut:
            self._cut_power(reverted)

    @precondition(lambda self: self.names)
    @rule(pick=PICKS, children=SELDOM, live=st.booleans(), cut=SELDOM)
    def delete(self, pick: int, children: bool, live: bool, cut: bool) -> None:
        """``live``: while all nodes run."""
        name = self._picked(pick)
        for node in self._in_state("shutoff", "paused") if live else ():
            self._run(node)
        LOG.info("delete %s, children=%s", name, children)
        snapshots.delete(self.environment, name, children=children)
        for model in self.models.values():
            if name in model.snapshots:
                model.delete(name, children=children)
        self._tidied()
        if cut:
            self._cut_power(self.models)

    @precondition(lambda self: self._in_state("shutoff"))
    @rule(tidily=st.booleans())
    def start(self, tidily: bool) -> None:
        """``tidily`` as a command does it, else as virsh."""
        for node in self._in_state("shutoff"):
            self._run(node)
        if tidily:
            self._tidy()

    @precondition(lambda self: self._in_state("running", "paused"))
    @rule(pick=PICKS, tidily=st.booleans())
    def stop(self, pick: int, tidily: bool) -> None:
        on = self._in_state("running", "paused")
        node = on[pick % len(on)]
        LOG.info("stop %s", node)
        self.nodes[node].destroy()
        self.models[node].state = "shutoff"
        if tidily:
            self._tidy()

    @precondition(lambda self: self._in_state("running", "paused"))
    @rule(pick=PICKS, tidily=st.booleans())
    def pause(self, pick: int, tidily: bool) -> None:
        """Suspend or resume."""
        on = self._in_state("running", "paused")
        node = on[pick % len(on)]
        if self.models[node].state == "running":
            LOG.info("suspend %s", node)
            self.nodes[node].suspend()
            self.models[node].state = "paused"
        else:
            self._run(node)
        if tidily:
            self._tidy()

    @precondition(lambda self: self.names and not self.holders)
    @rule(pick=PICKS, stands=st.booleans())
    def hold(self, pick: int, stands: bool) -> None:
        """A frozen layer gets a second name, as an export gives it; or a stranger on top of it."""
        layers = sorted({path for domain in self.domains.values() for path in _frozen(domain)})
        layer = layers[pick % len(layers)]
        LOG.info("an overlay on %s" if stands else "a link to %s", layer.name)
        holder = (self.host.pool_dir if stands else self.spooled) / "holder"
        if stands:
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(layer), "-F"]
            subprocess.run([*command, read_header(layer).format, str(holder)], check=True)
        else:
            holder.hardlink_to(layer)
        self.holders[holder] = self._held(holder)

    @precondition(lambda self: self.holders)
    @rule()
    def let_go(self) -> None:
        """What was only there for its sake goes with the next command."""
        LOG.info("the holder goes")
        self._let_go()
        self.may_wait = dict.fromkeys(self.models, True)

    def _let_go(self) -> None:
        for holder in self.holders:
            holder.unlink()
        self.holders.clear()

    def _tidy(self) -> None:
        LOG.info("tidy up")
        snapshots.tidy_up(self.environment.name)
        self._tidied()

    def _tidied(self) -> None:
        """Layers may wait where memory was saved and not run since, or somebody holds them."""
        self.may_wait = {
            name: self.models[name].state != "shutoff"
            and (bool(self.holders) or is_postmigrate(domain))
            for name, domain in self.domains.items()
        }

    def _is_full(self, nodes: Sequence[str]) -> bool:
        """Whether one of them stands still, on a disk that takes no further layer."""
        return any(
            len(chain(Path(path))) >= flatten.MAX_CHAIN
            for node in nodes
            if self.models[node].state == "paused"
            for path in disks(self.domains[node]).values()
        )

    def _cut_power(self, nodes: Iterable[str]) -> None:
        """QEMU has no time to write anything out."""
        for node in nodes:
            if self.models[node].state == "shutoff":
                continue
            LOG.info("cut the power of %s", node)
            domain = self.domains[node]
            pid_file = self.host.directory / f"run/libvirt/qemu/{domain.name()}.pid"
            self.host.run(["kill", "-9", pid_file.read_text().strip()])
            while domain.isActive():
                time.sleep(0.01)
            self.models[node].state = "shutoff"

    def _run(self, node: str) -> None:
        """Start or resume it."""
        LOG.info("let %s run", node)
        if self.models[node].state == "paused":
            self.nodes[node].resume()
        else:
            self.nodes[node].start()
        self.models[node].state = "running"

    def _write(self, writes: Sequence[Write]) -> None:
        """A node that stands still writes nothing."""
        for write in writes:
            model = self.models[write.node]
            if model.state == "paused":
                continue
            LOG.info("%s", write)
            if model.state == "running":
                write_live(self.domains[write.node], write)
            else:
                write_offline(Path(disks(self.domains[write.node])[write.disk]), write)
            model.write(write)

    # What must be so after each of them

    @invariant()
    def is_as_the_model(self) -> None:
        """Frozen layers are read first: they must be complete whatever the guests do."""
        seen = {name: Seen.of(domain) for name, domain in self.domains.items()}
        for name, node in seen.items():
            self._check_state(name)
            self._check_tree(name, node)
            self._check_rows(name, node)
        self._check_layers(seen)
        self._check_files(seen)
        self._check_names()
        self._check_holders()
        with still([self.domains[name] for name in self._in_state("running")]):
            for name, node in seen.items():
                self._check_content(f"{name} now", node.now, self.models[name].disks)

    def _check_state(self, name: str) -> None:
        state = run_state(self.domains[name]).value
        assert state == self.models[name].state, f"{name} is {state}"

    def _check_tree(self, name: str, seen: Seen) -> None:
        model = self.models[name]
        assert seen.current == model.current, name
        assert {snapshot.name: snapshot.parent for snapshot in seen.snapshots.values()} == {
            snapshot: held.parent for snapshot, held in model.snapshots.items()
        }, name
        for snapshot, held in model.snapshots.items():
            paths = {disk.target: str(disk.path) for disk in seen.snapshots[snapshot].snapshotted}
            self._check_content(f"{snapshot} of {name}", paths, held.disks)

    def _check_content(self, what: str, paths: dict[str, str], expected: dict[str, bytes]) -> None:
        assert set(paths) == set(expected), what
        for target, path in paths.items():
            differs = self.reader.difference(Path(path), expected[target])
            assert not differs, f"{what}, {target} ({path}): {differs}"

    def _check_rows(self, name: str, seen: Seen) -> None:
        """Database, libvirt and headers tell of the same layers."""
        assert seen.now == seen.later, name
        devices = self.nodes[name].disk_devices
        assert seen.now == {disk.target_dev: disk.volume.uuid for disk in devices}, name
        if self.models[name].state != "shutoff":
            by_headers = {target: chain(Path(path)) for target, path in seen.now.items()}
            assert seen.open == by_headers, name

    def _check_layers(self, seen: dict[str, Seen]) -> None:
        """None is there that no name needs, and no chain is too long."""
        unneeded = set()
        strangers = list(filter(self._stands, self.holders))
        held = {read_header(stranger).backing_file for stranger in strangers}
        for name, node in seen.items():
            assert all(len(chain(Path(path))) <= flatten.MAX_CHAIN for path in node.needed), name
            needed = node.needed | held
            idle = [row for row in self.nodes[name].get_volumes() if row.uuid not in needed]
            found = {row.uuid for row in idle if row.volume_set.count() < 2}
            assert not found or self.may_wait[name], f"{found} of {name} are still there"
            unneeded |= found
        if unneeded:
            told = snapshots.waiting(self.environment)
            assert {layer.path for layer in told} == unneeded

    def _check_files(self, seen: dict[str, Seen]) -> None:
        """None is missing, none is left over, and each stands on what the database says."""
        taken = [snapshot for node in seen.values() for snapshot in node.snapshots.values()]
        memories = {snapshot.memory_path for snapshot in taken} - {None}
        volumes = list(Volume.objects.select_related("backing_store"))
        known = {volume.uuid for volume in volumes} | memories
        known |= {str(holder) for holder in self.holders if self._stands(holder)}
        assert known == {str(path) for path in self.host.pool_dir.iterdir()}
        for volume in volumes:
            header = read_header(Path(volume.uuid))
            below = volume.backing_store
            stands_on = (below.uuid, below.format) if below else (None, None)
            assert (header.backing_file, header.backing_format) == stands_on, volume.name
            assert header.format == volume.format, volume.name

    def _check_names(self) -> None:
        listed = snapshots.list_snapshots(self.environment)
        assert {item.name for item in listed} == set(self.names)
        rows = EnvironmentSnapshot.objects.filter(environment=self.environment)
        assert {row.name for row in rows} == set(self.names)
        assert all(row.complete for row in rows)

    def _held(self, holder: Path) -> bytes:
        """Of an export its bytes, since it has all its files; a stranger reads through others."""
        return self.reader.read(holder) if self._stands(holder) else holder.read_bytes()

    def _stands(self, holder: Path) -> bool:
        return holder.parent == self.host.pool_dir

    def _check_holders(self) -> None:
        for holder, content in self.holders.items():
            assert self._held(holder) == content, "what somebody holds was written to"


def _open(domain: Any) -> dict[str, list[Path]]:
    found = {}
    for disk in etree.fromstring(domain.XMLDesc()).iterfind("devices/disk"):
        sources = [Path(source.get("file")) for source in disk.iter("source")]
        found[disk.find("target").get("dev")] = sources
    return found


def _frozen(domain: Any) -> set[Path]:
    """The layers that snapshots name."""
    found = snapshots_of(domain).values()
    return {Path(str(disk.path)) for snapshot in found for disk in snapshot.snapshotted}
