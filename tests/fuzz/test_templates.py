"""Templates, cloud-init's data and storage URLs, as somebody else may have written them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.devops.libvirt.cloud_init import CloudInit, Values, filled_in
from devops_snapshot.devops.template import check_settings, load_template
from devops_snapshot.errors import TemplateError
from devops_snapshot.remote import url
from tests.devops.test_rows import TEMPLATES
from tests.devops.test_template import SOUND

from . import hostile
from .confined import MIB, outcome
from .effort import examples, only_clear_errors

ENVIRON = {
    "ENV_NAME": "lab",
    "MEMORY": "9" * 5000,
    "LIST": "[a, b]",
    "BROKEN": "[",
    "DEEP": "[" * 5000,
}
REAL = {path.name: path.read_text() for path in sorted(TEMPLATES.glob("*.yaml"))}

PIECES = (
    "!os_env MEMORY",
    "!os_env LIST",
    "!os_env BROKEN",
    "!os_env DEEP",
    "!os_env {a: b}",
    "!os_env NOTHING",
    "!include template.yaml",
    "!include /dev/zero",
    "!include [a, b]",
    '!include "a\\0b"',
    "!!python/object/apply:os.system [id]",
    "!!binary x",
    "!!set {a, [b]}",
    "!!timestamp x",
    "2026-13-32",
    "9" * 5000,
    "0x",
    "1_0:90",
    ".inf",
    ".nan",
    "{[a]: b}",
    "{1: 2, a: 3}",
    "&a [*a]",
    "{<<: *a}",
    "{<<: [1]}",
    "*unknown",
    "? [a]\n: b",
    "[" * 2000,
    "null",
    "~",
    "''",
    '"\\x1b[2J"',
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A template with values, lines or bytes that are not its own."""
    text = draw(st.sampled_from([SOUND, *REAL.values()]))
    for _ in range(draw(st.integers(1, 3))):
        values = [found.span(1) for found in re.finditer(r"[:\-] +([^\s#].*)$", text, re.MULTILINE)]
        if not values or draw(st.integers(0, 3)) == 0:
            text = draw(hostile.spoilt(text.encode())).decode(errors="replace")
            continue
        start, stop = draw(st.sampled_from(values))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[stop:]
    return text


@examples(60)
@given(text=texts())
def test_any_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "template.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with only_clear_errors():
        load_template(path, ENVIRON)


@examples(60)
@given(data=st.data())
def test_any_values(data: st.DataObject) -> None:
    settings = data.draw(hostile.changed(yaml.safe_load(SOUND)))
    with only_clear_errors():
        check_settings(settings)


def laughs(levels: int, join: str = "[{}]") -> str:
    lines = ["a0: &a0 [ha, ha]"]
    for level in range(1, levels):
        names = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {join.format(names)}")
    return "\n".join([*lines, f"env_name: *a{levels - 1}", "groups: []"])


BOMBS = {
    "a billion laughs": laughs(12),
    "a billion laughs as keys": laughs(12).replace("ha, ha", "{ha: ha}").replace("[*", "[{<<: *"),
    "a billion laughs merged": "\n".join(
        ["a0: &a0 {x: 1, y: 2}"]
        + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
        + ["env_name: *a11"]
    ),
    "deep": "env_name: " + "[" * 20_000,
    "deep mappings": "env_name: " + "{a: " * 20_000,
    "a list in itself": "env_name: &a [*a]",
    "a mapping in itself": "env_name: &a {b: *a}",
    "an endless file": "env_name: !include /dev/zero",
    "many digits": f"env_name: {'9' * 100_000}",
    "long": "env_name: " + "x" * (20 * MIB),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_small_texts_that_stand_for_much(tmp_path: Path, text: str) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(text)
    told = outcome(lambda: load_template(path, {}), memory=300 * MIB, seconds=20)
    assert told
    assert len(told) < 1000


def test_aliases_are_fine() -> None:
    with pytest.raises(TemplateError, match="`groups` is missing"):
        check_settings({"env_name": "x", "groups": []})


VALUES = Values("node-1", "eth0", "10.0.0.2", "10.0.0.0/24", "255.255.255.0", "10.0.0.1")


@examples(60)
@given(meta=st.text(), user=st.one_of(st.none(), st.text("{}hostname_.[]!:%0x")))
def test_cloud_init_fills_in_its_own_names_alone(meta: str, user: str | None) -> None:
    made = CloudInit.of(meta, user, VALUES)
    assert len(made.meta_data) <= len(meta) + 20 * meta.count("{")
    assert filled_in("{{" + "{x.__class__}" + "{0}{hostname!r}", {"hostname": "n"}) == (
        "{{x.__class__}{0}{hostname!r}"
    )
    assert user is None or "{" in user or "}" in user or made.user_data == user


URL_PARTS = (
    *("sftp://", "file://", "s3://", "scp://", "user", ":pw", "@", "-oProxyCommand=x", "host"),
    *(":22", ":99999", "/", "..", "%2e%2e", "%00", "%0a", "?", "#", "[", "::1", "]", "\x1b"),
)


@examples(150)
@given(st.lists(st.one_of(st.sampled_from(URL_PARTS), st.text(max_size=4)), max_size=9))
def test_urls(parts: list[str]) -> None:
    with only_clear_errors():
        found = url.parse("".join(parts))
        assert found.path.startswith("/")
        assert "/../" not in f"{found.path}/"
        assert not found.host.startswith("-")
        assert not found.user.startswith("-")
