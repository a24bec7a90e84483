"""What an exporter told of an export, as far as it makes sense.

Everybody who exports writes to a repository, also other releases and those who mean harm: one odd
summary must not keep the others from being shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Summary:
    """What is not told, or makes no sense, is empty or 0.

    :param size: of its files, in bytes
    :param test: which it was exported for
    """

    environment: str = ""
    snapshots: Sequence[str] = ()
    description: str = ""
    host: str = ""
    nodes: Sequence[str] = ()
    size: int = 0
    test: str = ""
    outcome: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Summary:
        return cls(
            environment=_text(told.get("environment")),
            snapshots=_texts(told.get("snapshots")),
            description=_text(told.get("description")),
            host=_text(told.get("host")),
            nodes=_texts(told.get("nodes")),
            size=_size(told.get("size")),
            test=_text(told.get("test")),
            outcome=_text(told.get("outcome")),
            tags=_tags(told.get("tags")),
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _tags(value: object) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {key: told for key, told in items if isinstance(told, str)}


def _size(value: object) -> int:
    return max(0, value) if isinstance(value, int) else 0
