"""The published JSON schema: ``python -m devops_snapshot.manifest.schema`` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path

from .document import VERSION, Manifest

PUBLISHED = Path(__file__).with_name(f"schema-{VERSION}.json")


def schema() -> str:
    """The schema that the types of ``document`` imply."""
    return json.dumps(Manifest.model_json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PUBLISHED.write_text(schema())
