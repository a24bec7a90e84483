#!/bin/sh
# The demonstration: an environment leaves one libvirt host and comes back to life on another.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh
exec .venv/bin/python -m scripts.demo "$@"
