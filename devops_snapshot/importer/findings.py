"""What a check before an import has found, and what can be done about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """How bad it is: nothing, worth knowing, in the way without an option, in the way at all."""

    FINE = "ok"
    NOTE = "note"
    AVOIDABLE = "needs an option"
    BLOCKING = "cannot"


@dataclass(frozen=True)
class Finding:
    """One line of the table that an import begins with.

    :param subject: what was looked at: ``domain names``, ``storage pool`` ...
    :param what: what there is, with its value, without a full stop
    :param remedy: what to do about it, one sentence; names the option where one helps
    :param options: of ``import-env``, with which it is in the way no more
    """

    subject: str
    verdict: Verdict
    what: str
    remedy: str = ""
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}" + (f". {self.remedy}" if self.remedy else "")

    @property
    def is_in_the_way(self) -> bool:
        return self.verdict in (Verdict.AVOIDABLE, Verdict.BLOCKING)
