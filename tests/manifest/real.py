"""A manifest as release 0.1.0 wrote it: two nodes, two networks, one snapshot with memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from devops_snapshot.manifest import Manifest

PATH = Path(__file__).with_name("manifest.json")


def document() -> dict[str, Any]:
    """Anew for each caller, to be changed."""
    return json.loads(PATH.read_text())


def manifest_of(document: dict[str, Any]) -> Manifest:
    return Manifest.from_json(json.dumps(document).encode())
