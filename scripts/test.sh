#!/bin/sh
# All checks: lint, format, types, tests. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh
.venv/bin/ruff check --quiet .
.venv/bin/ruff format --check --quiet .
.venv/bin/mypy devops_snapshot
exec .venv/bin/pytest "$@"
