"""Sphinx: ``pip install sphinx; sphinx-build docs docs/_build``."""

project = "devops_snapshot"
author = "the devops_snapshot maintainers"
extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
