"""Finishing or undoing what killed imports have left.

Whatever is removed was looked at first: domains and networks have the UUID *and* the name that the
import was to give them, a domain's disks stand on its files, and a file is the one on its bench.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from django.apps import apps
from django.db import DatabaseError

from ..connection import found, one_line
from ..errors import ConflictError, DevopsError
from ..hypervisor import asking
from ..interrupts import held_back
from ..lock import changing
from ..models import EnvironmentSnapshot, Import, State, Underway
from ..process import place
from ..snapshot import pool
from ..snapshot.domain_xml import disks_of, parse
from ..snapshot.images import chain_in, images_of
from ..snapshot.undo import Undo
from .awaken import awaken, wake_all
from .choices import Choices
from .journal import Making, close
from .layer_cache import DONE
from .machines import remove_domain
from .networks import remove_network
from .nwfilters import remove_nwfilter
from .rows import remove_rows
from .uploads import remains


@dataclass(frozen=True)
class Recovered:
    """What has become of a killed import.

    :param is_done: all is there now; else nothing is, or what could not be removed
    """

    record: Import
    making: Making
    what: str
    is_done: bool = False

    def __str__(self) -> str:
        record = self.record
        return f"The import of {record.environment_name!r} from {record.export_id} {self.what}"

    def is_what_is_wanted(self, export_id: str, choices: Choices) -> bool:
        """Whether it is the same as another import would make."""
        is_same = self.record.export_id == export_id and self.making.choices == repr(choices)
        return self.is_done and is_same


def recover() -> list[Recovered]:
    """Finish or undo all that was killed on this host."""
    recovered = []
    for record in Import.objects.filter(place=place()).order_by("id"):
        with ExitStack() as lock:
            try:
                lock.enter_context(changing(record.making["environment"]))
            except ConflictError:
                continue  # it is alive
            record.refresh_from_db()
            with held_back():
                if record.place:
                    recovered.append(_recover(record))
    return recovered


def _recover(record: Import) -> Recovered:
    making = Making.recorded_in(record)
    if record.state == State.DONE:
        close(record, State.DONE)
        return Recovered(record, making, "was killed when all was done", is_done=True)
    try:
        refusal = _finish(record)
        if refusal is None:
            what = "was killed when all was there: its guests were brought back now"
            return Recovered(record, making, what, is_done=True)
        if _undo(record):
            return Recovered(record, making, f"was killed: what it had made is removed{refusal}")
        reason = "it is tried again by the next 'dos.py sync'"
    except (DevopsError, DatabaseError) as error:
        reason = str(error)
    except libvirt.libvirtError as error:
        reason = one_line(error)
    return Recovered(record, making, f"was killed, and cannot be undone now: {reason}")


def _finish(record: Import) -> str | None:
    """Wake the guests if that was all that was left to do; returns why it could not, if so."""
    making = Making.recorded_in(record)
    environment = _environment_of(record)
    if not making.is_made or environment is None:
        return ""
    try:
        if _is_awake(environment, making):
            wake_all(environment, making.wanted_end)
        else:
            awaken(environment, making.current, making.wanted_end)
    except DevopsError as error:
        return f", since its guests could not be brought back: {error}"
    close(record, State.DONE)
    return None


def _undo(record: Import) -> bool:
    """Remove what there is; returns whether all could be."""
    making, undo = Making.recorded_in(record), Undo()
    for step in (_remove_files, _remove_nwfilters, _remove_networks):
        undo.later(step, making)
    undo.later(_remove_rows, record, making)
    undo.later(_remove_domains, making)
    undo.run()
    if undo.has_failed:
        return False
    record.environment_id = None
    close(record, State.CANCELLED, error="killed; what it had made was removed later")
    return True


def _environment_of(record: Import) -> Any | None:
    environments: Any = apps.get_model("devops", "Environment").objects
    return environments.filter(id=record.environment_id, name=record.making["environment"]).first()


def _is_awake(environment: Any, making: Making) -> bool:
    """Whether the revert has come to its end: users may have gone on with the guests by now."""
    rows = EnvironmentSnapshot.objects.filter(environment_id=environment.id)
    if rows.filter(underway=Underway.REVERTING).exists():
        return False
    devices = [device for node in environment.get_nodes() for device in node.disk_devices]
    return any(
        device.volume is not None and device.volume.uuid not in making.files for device in devices
    )


def _remove_domains(making: Making) -> None:
    images = images_of(making.target)
    for uuid, name in making.domains.items():
        with asking(f"looking for domain {name}"):
            domain = found(making.target.conn.lookupByUUIDString, uuid, libvirt.VIR_ERR_NO_DOMAIN)
            if domain is None or domain.name() != name:
                continue
            paths = [disk.path for disk in disks_of(parse(domain.XMLDesc(0))) if disk.path]
        if all(set(chain_in(images, path)) & set(making.files) for path in paths):
            remove_domain(domain)


def _remove_rows(record: Import, making: Making) -> None:
    environment = _environment_of(record)
    if environment is not None:
        for row in environment.get_env_l2_network_devices():
            if row.params.get("uuid"):
                row.destroy()  # with its VLANs
        remove_rows(environment, set(making.files))


def _remove_nwfilters(making: Making) -> None:
    for name in reversed(making.nwfilters):
        remove_nwfilter(making.target.conn, name)


def _remove_networks(making: Making) -> None:
    for uuid, name in making.networks.items():
        with asking(f"looking for network {name}"):
            network = found(
                making.target.conn.networkLookupByUUIDString, uuid, libvirt.VIR_ERR_NO_NETWORK
            )
        if network is not None and network.name() == name:
            remove_network(network)


def _remove_files(making: Making) -> None:
    """Those that came, and overlays on them for which there was no row yet.

    The files themselves may be gone, if somebody has erased the environment.
    """
    pool.refresh(making.target)
    uploaded, linked = dict(remains(making)), set(_files_on_bench(making))
    gone = {path for path in making.files if not pool.is_there(making.target, path)}
    for image in images_of(making.target).values():
        if image.backing in {*uploaded, *linked, *gone} and image.path not in making.files:
            pool.remove_file(making.target, image.path)
    for path in linked:
        Path(path).unlink(missing_ok=True)
    for path, volume in uploaded.items():
        with asking(f"deleting {path}"):
            volume.delete()
    pool.refresh(making.target)


def _files_on_bench(making: Making) -> Iterator[str]:
    """Paths in the pool at which there is a file of the bench."""
    if making.uploads:
        return
    bench = Path(making.bench)
    for directory in (bench, bench.with_suffix(DONE)):
        if not directory.is_dir():
            continue
        made = [draft.stat() for draft in directory.iterdir()]
        for path in making.files:
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if any(os.path.samestat(status, draft) for draft in made):
                yield path
