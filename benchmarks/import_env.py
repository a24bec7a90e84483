"""Bringing an environment to a host until its guests run: ours, and rsync with virsh by hand."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import libvirt
from tabulate import tabulate

from tests.bed import Bed, Storage
from tests.importer.features import Lab

from .guests import BOOT, FILLING
from .guests import FILL as FILL_MEMORY
from .import_step import PARTS
from .import_ways import MIB, NAME, PORT, ByHand, Cost, Export, Ours, Way

TEMPLATE = Path(__file__).with_suffix(".yaml")
NODES = ("node-1", "node-2")
FIRST, SIBLING, DISKS = "first", "sibling", "disks only"
HEADERS = ("import", "way", *PARTS, "all", "x", "on disk", "received", "peak")
LEGEND = """\
Medians in seconds, MiB received, MiB of memory. x: the time of the other way by ours."""


@dataclass(frozen=True)
class Measurement:
    """One import."""

    what: str
    way: str
    cost: Cost


def main() -> None:
    options = _options()
    measurements: list[Measurement] = []
    with Bed() as bed:
        alpha, beta, storage = Lab(bed.host("alpha")), Lab(bed.host("beta")), bed.storage()
        _serve_rsync(storage)
        if options.rate:
            _slow_down(storage, options.rate)
        with alpha.ready():
            exports = _origin(alpha, storage, bed.guest_iso, options)
        for repetition in range(options.repeat):
            ways: list[Way] = [Ours(beta, storage.url), ByHand(beta, storage)]
            for way in reversed(ways) if repetition % 2 else ways:
                measurements += _measure(way, beta, exports)
    print(f"\n{_table(measurements)}\n\n{LEGEND}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_env", description=__doc__)
    parser.add_argument("--memory", type=int, default=256, help="MiB of each of the two guests")
    parser.add_argument("--base", type=int, default=512, help="MiB of the base image")
    parser.add_argument("--written", type=int, default=64, help="MiB that each guest has written")
    parser.add_argument("--rate", type=int, help="MBit/s of the line; default: unlimited")
    parser.add_argument("--repeat", type=int, default=3, help="the table has the medians")
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    return parser.parse_args()


def _serve_rsync(storage: Storage) -> None:
    """A second sshd, which lets its user run what he likes."""
    config = (storage.directory / "sshd_config").read_text()
    config = config.replace("ForceCommand internal-sftp\n", "").replace(":22\n", f":{PORT}\n")
    path = storage.directory / "sshd_rsync_config"
    path.write_text(config)
    storage.compartment.daemon(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(path)],
        env={"PATH": "/usr/sbin:/usr/bin"},
        log=storage.directory / "sshd_rsync.log",
    )


def _slow_down(storage: Storage, rate: int) -> None:
    """What goes out of the storage node."""
    shape = f"root tbf rate {rate}mbit burst 256kb latency 100ms"
    script = f"cd /sys/class/net; for port in host*; do tc qdisc add dev $port {shape}; done"
    process = storage.compartment.popen(
        ["sh", "-ec", script], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, cwd=storage.directory
    )
    if process.wait():
        raise RuntimeError("tc cannot slow the line down here")


def _origin(
    lab: Lab, storage: Storage, iso: Path, options: argparse.Namespace
) -> tuple[Export, Export]:
    """The environment as it was exported, and as it was exported again later."""
    image = lab.host.directory / "base.qcow2"
    _make_base(image, options.base)
    variables = {"BASE_IMAGE": str(image), "GUEST_ISO": str(iso), "MEMORY": str(options.memory)}
    _say("making the environment")
    lab.dos("create-env", str(TEMPLATE), ENV_NAME=NAME, **variables)
    lab.dos("start", NAME)
    for node in NODES:
        lab.guest(node, NAME).wait_boot(timeout=BOOT)
    for node in NODES:
        fill = FILL_MEMORY.format(size=options.memory * 3 // 8)
        lab.guest(node, NAME).run(fill, timeout=FILLING)
        _write(lab, node, options.written, at=0)
    first = _export(lab, storage, "one")
    for node in NODES:
        _write(lab, node, options.written // 8, at=options.base // 2)
    return first, _export(lab, storage, "two")


def _make_base(image: Path, size: int) -> None:
    """Of what is below ``/usr``, so much as fits: data as it is on a disk of a system."""
    with tempfile.NamedTemporaryFile(dir=image.parent) as raw:
        archive = subprocess.Popen(
            ["tar", "-C", "/usr", "--sort=name", "-c", "bin", "lib", "share"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert archive.stdout is not None
        with archive:
            left = size * MIB
            while left and (block := archive.stdout.read(min(left, MIB))):
                left -= raw.write(block)
            archive.kill()
        raw.flush()
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.name, str(image)]
        subprocess.run(convert, check=True)


def _write(lab: Lab, node: str, size: int, *, at: int) -> None:
    """Half of it is random, half of it is what is elsewhere on the disk."""
    guest = lab.guest(node, NAME)
    guest.fill_disk(mebibytes=size // 2, offset=at)
    where = f"bs=1M count={size // 2} skip={at + size} seek={at + size // 2}"
    guest.run(f"dd if=/dev/vda of=/dev/vda conv=notrunc {where} 2>&1 && sync", timeout=FILLING)


def _export(lab: Lab, storage: Storage, snapshot: str) -> Export:
    _say(f"exporting {snapshot}")
    lab.dos("snapshot", NAME, snapshot)
    record = lab.export("--snapshot", snapshot, storage=storage.url, name=NAME)
    manifest = lab.manifest(storage.url, record["id"])
    files = storage.srv / f"files-{snapshot}"
    files.mkdir()
    paths = [lab.pool / Path(file["path"]).name for file in manifest["files"]]
    subprocess.run(["cp", "-a", "--sparse=always", *paths, files], check=True)
    subprocess.run(["chmod", "-R", "a+rX", files], check=True)
    nodes = [node for group in manifest["environment"]["groups"] for node in group["nodes"]]
    networks = lab.host.connection.listAllNetworks()
    return Export(
        id=record["id"],
        memory={f"{NAME}_{node['name']}": node["snapshots"][-1]["memory"] for node in nodes},
        files=f"/srv/{files.name}",
        networks={one.name(): one.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE) for one in networks},
        domains={f"{NAME}_{node['name']}": node["domain_xml"] for node in nodes},
    )


def _measure(way: Way, lab: Lab, exports: Sequence[Export]) -> Iterator[Measurement]:
    first, later = exports
    with _in_use(lab):
        yield _one(FIRST, way, lab, first)
        way.drop()
        yield _one(SIBLING, way, lab, later)
    with _in_use(lab):
        yield _one(DISKS, way, lab, first, memory=False)


@contextmanager
def _in_use(lab: Lab) -> Iterator[None]:
    """A host with a database, whose libvirt has looked at its QEMU."""
    with lab.ready():
        lab.dos("list")
        lab.host.connection.getCapabilities()
        yield


def _one(what: str, way: Way, lab: Lab, export: Export, *, memory: bool = True) -> Measurement:
    subprocess.run(["sync"], check=True)
    cost = way.bring(export, memory=memory)
    for node in NODES:
        guest = lab.guest(node, NAME)
        if memory:
            assert guest.ticks() > 0
        else:
            guest.wait_boot(timeout=BOOT)
    measurement = Measurement(what, way.name, cost)
    _say(str(measurement))
    return measurement


def _table(measurements: Iterable[Measurement]) -> str:
    by_case: dict[tuple[str, str], list[Cost]] = {}
    for one in measurements:
        by_case.setdefault((one.what, one.way), []).append(one.cost)
    order = [(what, way) for what in (FIRST, SIBLING, DISKS) for way in ("ours", "by hand")]
    whole = {case: _median(cost.whole for cost in by_case[case]) for case in order}
    rows = [
        [*case, *_row(by_case[case], by_hand=whole[case] / whole[case[0], "ours"])]
        for case in order
    ]
    return tabulate(rows, headers=HEADERS, tablefmt="rst", disable_numparse=True)


def _row(costs: Sequence[Cost], *, by_hand: float) -> list[str]:
    parts = [_median(cost.seconds.get(part, 0.0) for cost in costs) for part in PARTS]
    peaks = [cost.peak for cost in costs if cost.peak is not None]
    return [
        *(f"{seconds:.2f}" for seconds in parts),
        f"{_median(cost.whole for cost in costs):.2f}",
        "" if peaks else f"{by_hand:.1f}",
        f"{_median(cost.on_disk for cost in costs):.2f}",
        f"{_median(cost.received for cost in costs):.0f}",
        f"{_median(peaks):.0f}" if peaks else "",
    ]


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
