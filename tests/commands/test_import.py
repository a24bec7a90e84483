"""What ``import-env`` tells programs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bed import Bed
from tests.journey.scenario import Place


def test_the_record_of_an_import(clean_hosts: Bed, tmp_path: Path) -> None:
    source, target = (Place(clean_hosts.host(name)) for name in ("alpha", "beta"))
    storage = f"file://{tmp_path}/repository"
    source.create(boot=False)
    exported = source.export(storage=storage)
    done = target.host.dos("import-env", "latest:trip", "--storage", storage, "--json")
    record = json.loads(done.stdout)
    assert (record["id"], record["environment"]) == (exported["id"], "trip")
    assert record["storage"] == storage
    assert record["bytes_written"] >= record["bytes_received"] > 15_000_000
    assert 0 < record["seconds"] < 300
    assert target.dos("list").split() == ["NAME", "------", "trip"]
