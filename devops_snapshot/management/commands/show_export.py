"""``dos.py show-export``"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...importer.choose import choose_export
from ...manifest import Manifest
from ...manifest.document import TestRun
from ...remote import connect
from ...store import Repository, pinned_by
from ..arguments import add_storage_argument, storage_url
from ..chosen import NAME_HELP, add_export_argument
from ..columns import fact, fit, terminal_width
from ..quantities import human_duration

_FLEXIBLE = {"SNAPSHOTS", "MAC ADDRESSES", "FILE", "STANDS ON"}


class Command(DevopsCommand):
    help = "Show what an export holds: snapshots, nodes, networks and files"
    group = "Exports"
    examples = ["dos.py show-export latest:my_env", "dos.py show-export latest --json"]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(parser, help=NAME_HELP)
        add_storage_argument(parser)
        parser.add_argument("--json", action="store_true", help="the whole manifest")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            entry = choose_export(repository, options["export"])
            document = repository.manifest(entry.id)
            by = pinned_by(repository).get(entry.id)
        manifest = Manifest.from_json(document)
        if options["json"]:
            pin = {"pinned": by is not None, "pinned_by": by or None}
            self.json({"id": entry.id, **pin, "manifest": json.loads(document)})
            return
        width = terminal_width()
        for name, value in _facts(entry.id, manifest, by):
            self.stdout.write(fact(name, value, width=width))
        self._show_nodes(manifest)
        self._show_networks(manifest)
        self._show_files(manifest)
        self._show_traceback(manifest.provenance.test)

    def _section(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if rows:
            self.stdout.write("")
            self.table(*fit(headers, rows, width=terminal_width(), flexible=_FLEXIBLE))

    def _show_nodes(self, manifest: Manifest) -> None:
        self._section(
            ("NODE", "ROLE", "SNAPSHOTS", "MAC ADDRESSES"),
            [
                (
                    node.name,
                    node.role or "",
                    ", ".join(snapshot.name for snapshot in node.snapshots),
                    ", ".join(interface.mac_address for interface in node.interfaces),
                )
                for node in manifest.environment.nodes
            ],
        )

    def _show_networks(self, manifest: Manifest) -> None:
        self._section(
            ("NETWORK", "FORWARD", "ADDRESS"),
            [
                (l2.network.name, l2.network.forward_mode or "isolated", _address(l2.network))
                for l2 in manifest.environment.networks
                if l2.network is not None
            ],
        )

    def _show_files(self, manifest: Manifest) -> None:
        self._section(
            ("FILE", "ROLE", "FORMAT", "SIZE", "STANDS ON"),
            [
                (
                    file.name,
                    file.role.value,
                    file.format,
                    human_size(file.size),
                    (file.backing or "").rpartition("/")[2],
                )
                for file in manifest.files
            ],
        )

    def _show_traceback(self, test: TestRun | None) -> None:
        """Indented, so that nothing in it looks like what this command says."""
        if test is not None and test.traceback:
            self.stdout.write("\nTraceback:")
            self.stdout.write(textwrap.indent(test.traceback, "  "))


def _facts(export_id: str, manifest: Manifest, by: str | None) -> list[tuple[str, str]]:
    freeze = manifest.freeze_seconds
    return [
        ("Export", export_id),
        ("Environment", manifest.environment.name),
        ("Snapshots", ", ".join(manifest.snapshots) or "none, definitions only"),
        ("Comes back at", manifest.current or "-"),
        ("Description", manifest.provenance.description),
        *_of_test(manifest.provenance.test),
        *([("Tags", _pairs(manifest.provenance.tags))] if manifest.provenance.tags else []),
        ("Host", manifest.host.name),
        ("Exported", f"{manifest.provenance.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("By", f"{manifest.provenance.user}, {manifest.provenance.tool}"),
        ("Stood still", "-" if freeze is None else f"{freeze:.2f} s"),
        ("Size", human_size(manifest.size)),
        ("Pinned", "no" if by is None else f"by {by}" if by else "yes"),
    ]


def _of_test(test: TestRun | None) -> list[tuple[str, str]]:
    """What is known of it."""
    if test is None:
        return []
    seconds = test.duration_seconds
    facts = [
        ("Test", test.name),
        ("Outcome", test.outcome),
        ("Exception", test.exception),
        ("Took", None if seconds is None else human_duration(timedelta(seconds=seconds))),
        ("Release", test.release),
        ("Job", test.job),
        ("Build", test.build),
        ("URL", test.url),
        ("Commits", _pairs(test.commits)),
    ]
    return [(name, value) for name, value in facts if value]


def _pairs(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in facts.items())


def _address(network: Any) -> str:
    return f"{network.ip}/{network.prefix}" if network.ip else ""
