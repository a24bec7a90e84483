"""Of fuel-qa."""

import os

MAKE_SNAPSHOT = os.environ.get("MAKE_SNAPSHOT") == "true"
