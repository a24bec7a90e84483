"""Every conflict that a plan can tell stands in ``docs/import.rst``, word for word."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.importer import checks

DOCUMENT = Path(__file__).parents[2] / "docs" / "import.rst"
MODULES = sorted(Path(checks.__file__).parent.glob("*.py"))


def said(tree: ast.AST) -> Iterator[str]:
    """Texts of a module, without its values: no docstrings, nor what libvirt is asked for."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.Call) and getattr(tree.func, "id", "") == "asking":
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    for child in ast.iter_child_nodes(tree):
        yield from said(child)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_messages_and_ways_out(module: Path) -> None:
    document = " ".join(DOCUMENT.read_text().split())
    texts = [text for text in said(ast.parse(module.read_text())) if " " in text.strip()]
    assert [text for text in texts if text.strip() not in document] == []


def test_everything_that_is_checked_is_there() -> None:
    cells = [line.removeprefix("   * - ") for line in DOCUMENT.read_text().splitlines()]
    subjects = {subject for _, subjects in checks._CHECKS for subject in subjects}
    assert subjects <= set(cells)
