#!/bin/sh
# All checks: lint, format, types, tests. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
.venv/bin/mypy devops_snapshot
# Tests are shared out to the cores; each process has a bed of its own.
exec .venv/bin/pytest --numprocesses auto --maxprocesses 4 --dist worksteal "$@"
