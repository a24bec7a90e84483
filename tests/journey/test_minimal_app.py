"""The journey with another app of label ``devops``, which offers the contract and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bed import Bed, CommandError, Guest, Host, template_env

from .scenario import Place

NAME = "other"
APP = "tests.journey.minimal_devops"


@dataclass(frozen=True)
class Elsewhere(Place):
    """A host on which this extension stands beside that app."""

    def dos(self, *arguments: str, **env: str) -> str:
        """A command of the extension or the app, by Django's own dispatcher."""
        command, *rest = arguments
        settings = {"DJANGO_SETTINGS_MODULE": f"{APP}.settings"}
        argv = ("-m", "django", command.replace("-", "_"), *rest)
        return self.host.python(*argv, env={**self.env, **settings, **env}, timeout=300).stdout

    def fails(self, *arguments: str) -> str:
        """What a command of the extension says that has to fail: one line."""
        with pytest.raises(CommandError) as failure:
            self.dos(*arguments)
        [line] = failure.value.stderr.splitlines()
        return str(line)

    @property
    def node(self) -> Guest:
        return self.guest("node", NAME)

    def ours(self) -> list[Any]:
        """This extension's rows of snapshots."""
        code = (
            "import django, json; django.setup()\n"
            "from devops_snapshot.models import EnvironmentSnapshot as E, NodeSnapshot as N\n"
            "print(json.dumps([*E.objects.values('name'), *N.objects.values('node_name')]))"
        )
        env = {"DJANGO_SETTINGS_MODULE": f"{APP}.settings"}
        return json.loads(self.host.python("-c", code, env=env).stdout)


def test_an_app_that_offers_the_contract_is_enough(
    alpha: Host, beta: Host, clean_hosts: Bed
) -> None:
    here, there = Elsewhere(alpha), Elsewhere(beta)
    storage = clean_hosts.storage().url
    files = template_env(alpha)
    here.dos("lab", NAME, "--make", files["GUEST_ISO"], files["BASE_IMAGE"])
    here.node.wait_boot()
    here.node.write_file("/run/note", "remembered")
    written = here.node.fill_disk(mebibytes=1, offset=20)
    here.dos("snapshot", NAME, "early")
    ticks = here.node.ticks()
    here.node.fill_disk(mebibytes=1, offset=20)
    first = here.export("--with-current", "--snapshot", "early", storage=storage, name=NAME)
    before = (here.records(NAME), here.devices(NAME), here.networks())

    assert "no environment 'other'" in there.fails("export-env", NAME, "--storage", storage)
    refused = there.fails("import-env", "latest", "--timesync", "--storage", storage)
    assert "has no command time_sync" in refused
    there.dos("import-env", f"latest:{NAME}", "--storage", storage)
    assert there.node.ticks() > ticks
    assert there.node.read_file("/run/note") == "remembered"
    assert there.node.disk_digest(mebibytes=1, offset=20) != written
    assert there.snapshots(NAME) == first["snapshots"]
    after = (there.records(NAME), there.devices(NAME), there.networks())
    assert without_layers(after) == without_layers(before)

    there.dos("revert-resume", NAME, "early")
    assert there.node.disk_digest(mebibytes=1, offset=20) == written
    again = there.export("--snapshot", "early", storage=storage, name=NAME)
    assert again["bytes_sent"] < 1_000_000
    there.dos("sync", NAME)
    for place in (here, there):
        for name in place.snapshots(NAME):
            place.dos("snapshot-delete", NAME, name)
        place.dos("lab", NAME)
        assert place.ours() == []
        assert Place(place.host).is_empty()


def without_layers(seen: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """A revert puts disks on fresh layers."""
    records, *rest = seen
    kept = {table: rows for table, rows in records.items() if table not in LAYERED}
    return (kept, *rest)


LAYERED = ("node_volumes", "disks")
