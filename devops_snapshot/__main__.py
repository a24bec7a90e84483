"""``python -m devops_snapshot`` is ``dos.py``."""

import sys

from .shell import main

if __name__ == "__main__":
    sys.exit(main())
