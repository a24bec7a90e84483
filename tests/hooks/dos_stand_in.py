"""Stand-in for dos.py: writes down how it was called, and does what the tests want of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    mode = os.environ.get("DOS_MODE", "works")
    given = sys.stdin.read()
    call = {
        "arguments": sys.argv[1:],
        "given": json.loads(given) if given else None,
        "environ": dict(os.environ),
        "pid": os.getpid(),
    }
    with Path(os.environ["DOS_CALLS"]).open("a") as calls:
        calls.write(json.dumps(call) + "\n")
    if sys.argv[1] != "export-env":
        return 0
    if mode == "hangs":
        time.sleep(60)
    if mode == "hangs for good":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.run(["sleep", "60"])
        time.sleep(60)
    if mode == "fails":
        print("Error: the storage node is dead", file=sys.stderr)
        return 6
    if mode == "says nothing":
        return 0
    print("Detached, and said so: čau", file=sys.stderr)
    print("20261122T213124Z-bd564354")
    return 0


if __name__ == "__main__":
    sys.exit(main())
