"""Of which test an export is: what a hook reports, what the user says, and what the CI knows.

A hook must not fail for what it reports: what makes no sense is left out, what is too long is cut,
and both are told. The report is a JSON object with the fields of ``TestRun`` and ``tags``.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, get_args

from ..errors import UsageError
from ..manifest.document import (
    LONGEST_LINE,
    LONGEST_TRACEBACK,
    LONGEST_WORD,
    MOST_FACTS,
    Outcome,
    TestRun,
)

OUTCOMES: tuple[str, ...] = get_args(Outcome)

_LONGEST_DURATION = 1e9  # seconds
_LONGEST_QUOTE = 60  # characters that a complaint repeats


@dataclass(frozen=True)
class Told:
    """What an export is of.

    :param complaints: what was left out, and why
    """

    test: TestRun | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()


def told(
    *,
    report: bytes | None = None,
    test: str | None = None,
    outcome: str | None = None,
    tags: Mapping[str, str] | None = None,
    environ: Mapping[str, str],
) -> Told:
    """Put together what is known; the user is believed first, then the report, then the CI.

    :param report: a JSON document
    :param environ: environment variables, such as Jenkins sets
    :raises UsageError: a test without an outcome, an outcome without a test, or an empty name
    """
    if test is not None and not line(test):  # an empty variable in a script
        raise UsageError("the name of the test is empty")
    if report is None and (test is None) != (outcome is None):
        raise UsageError(
            "a test and its outcome are told together", hint="Give both --test and --outcome"
        )
    complaints: list[str] = []
    found = _reported(report, complaints.append) if report is not None else {}
    given = _facts("--tag", dict(tags or {}), complaints.append)
    all_tags = _few("tags", {**found.pop("tags", {}), **given}, complaints.append)
    options = {"name": test and line(test), "outcome": outcome}
    found |= {key: value for key, value in options.items() if value}
    return Told(_run(found, environ, complaints.append), all_tags, tuple(complaints))


def word(text: str) -> str:
    """What is a name or a number elsewhere, as it is kept."""
    return _cut(_one_line(text), LONGEST_WORD)


def line(text: str) -> str:
    """A text, as it is kept where it is to be one line."""
    return _cut(_one_line(text), LONGEST_LINE)


def traceback_tail(text: str) -> str:
    """The last lines, which tell the most."""
    text = _storable(text).rstrip()
    if len(text) <= LONGEST_TRACEBACK:
        return text
    tail = text[-LONGEST_TRACEBACK:]
    return tail.partition("\n")[2] or tail


_TEXTS: Mapping[str, Callable[[str], str]] = {
    "name": line,
    "exception": line,
    "traceback": traceback_tail,
    "job": word,
    "build": word,
    "url": line,
    "release": word,
}


def _reported(report: bytes, complain: Callable[[str], None]) -> dict[str, Any]:
    """The report's fields, as far as they make sense."""
    try:
        members = json.loads(report.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        complain(f"The test report is no JSON document: {error}")
        return {}
    if not isinstance(members, dict):
        complain("The test report is no JSON object")
        return {}
    found: dict[str, Any] = {}
    for name, value in members.items():
        if name not in TestRun.model_fields and name != "tags":
            complain(f"The test report has {_quoted(name)}, which is unknown, and left out")
        elif value is not None and (read := _read(name, value, complain)) is not None:
            found[name] = read
    return found


def _read(name: str, value: object, complain: Callable[[str], None]) -> object:
    """One field of the report; None if it makes no sense."""
    if name in ("commits", "tags"):
        if isinstance(value, dict):
            return _facts(f"{name} of the test report", value, complain)
    elif name == "outcome":
        return value if value in OUTCOMES else _odd_outcome(value, complain)
    elif name == "duration_seconds":
        if _is_number(value) and 0 <= value <= _LONGEST_DURATION:
            return value
    elif _is_number(value) or isinstance(value, str):
        return _TEXTS[name](str(value)) or None
    complain(f"The test report has {_quoted(value)} as {name}: left out")
    return None


def _odd_outcome(value: object, complain: Callable[[str], None]) -> str:
    """No outcome that is unknown may make an export look as if nobody needed it."""
    complain(
        f"The test report has the outcome {_quoted(value)}, which is none of "
        f"{', '.join(OUTCOMES)}: taken for an error"
    )
    return "error"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _facts(
    where: str, members: Mapping[str, object], complain: Callable[[str], None]
) -> dict[str, str]:
    facts = {}
    for name, value in members.items():
        if word(name) and (isinstance(value, str) or _is_number(value)):
            facts[word(name)] = word(str(value))
        else:
            complain(f"{where}: {_quoted(name)} is {_quoted(value)}: left out")
    return _few(where, facts, complain)


def _few(where: str, facts: dict[str, str], complain: Callable[[str], None]) -> dict[str, str]:
    if len(facts) > MOST_FACTS:
        complain(f"{where}: {len(facts)} are too many, the first {MOST_FACTS} are kept")
    return dict(list(facts.items())[:MOST_FACTS])


def _run(
    found: dict[str, Any], environ: Mapping[str, str], complain: Callable[[str], None]
) -> TestRun | None:
    if "name" not in found:
        if found:
            complain("The test report names no test: only its tags are kept")
        return None
    if "outcome" not in found:
        found["outcome"] = _odd_outcome(None, complain)
    reported = found.get("commits", {})
    known = {name: told for name, told in _commits(environ).items() if name not in reported}
    commits = _few("commits", {**reported, **known}, complain)
    return TestRun(**{**_circumstances(environ), **found, "commits": commits})


def _circumstances(environ: Mapping[str, str]) -> dict[str, str]:
    """Where a test runs, and what it tests, by the variables of Jenkins and of fuel-qa's jobs."""
    told = {
        "job": word(environ.get("JOB_NAME", "")),
        "build": word(environ.get("BUILD_NUMBER", "")),
        "url": line(environ.get("BUILD_URL", "")),
        "release": word(
            environ.get("VERSION_ID") or environ.get("CUSTOM_VERSION") or _iso_name(environ)
        ),
    }
    return {name: value for name, value in told.items() if value}


def _iso_name(environ: Mapping[str, str]) -> str:
    """``fuel-9.1-1234``; CI jobs call every image the same and let that be a symbolic link."""
    path = environ.get("ISO_PATH", "")
    return Path(os.path.realpath(path)).name.removesuffix(".iso") if path else ""


def _commits(environ: Mapping[str, str]) -> dict[str, str]:
    """By Jenkins's Git plugin, its Gerrit trigger, and fuel-qa's jobs."""
    told = (
        (_repository(environ.get("GIT_URL", "")) or "git", "GIT_COMMIT"),
        (_repository(environ.get("GERRIT_PROJECT", "")) or "gerrit", "GERRIT_PATCHSET_REVISION"),
        ("fuel-qa", "FUEL_QA_COMMIT"),
    )
    return {word(name): commit for name, by in told if (commit := word(environ.get(by, "")))}


def _repository(url: str) -> str:
    """``fuel-qa`` for ``https://opendev.org/openstack/fuel-qa.git``; never what is secret."""
    return re.split("[/:@]", url.rstrip("/"))[-1].removesuffix(".git")


def _one_line(text: str) -> str:
    return " ".join(_storable(text).split())


def _storable(text: str) -> str:
    """Names of files and arguments may have bytes that are no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _quoted(value: object) -> str:
    return _cut(repr(value), _LONGEST_QUOTE)
