"""Stand-in for fuel-qa's model of an environment."""

import os
import subprocess

from devops import settings as devops_settings  # noqa: F401 # fuel-devops runs in this process

from fuelweb_test import settings


class DevopsEnvironment:
    """Of fuel-devops."""

    name = os.environ.get("ENV_NAME", "fuel_system_test")


class EnvironmentModel(object):  # noqa: UP004 # Python 2.7 has two kinds of classes
    """With the one method that is wrapped."""

    d_env = DevopsEnvironment()

    def make_snapshot(self, snapshot_name, description="", is_make=False):
        """A line in a file, by which the tests of the hook see what came first, or a real one."""
        if not settings.MAKE_SNAPSHOT and not is_make:
            return
        if "SNAPSHOTS" in os.environ:
            with open(os.environ["SNAPSHOTS"], "a") as made:  # noqa: PTH123 # Python 2.7
                made.write(snapshot_name + "\n")
        if "SNAPSHOT_DOS" in os.environ:
            command = [os.environ["SNAPSHOT_DOS"], "snapshot", self.d_env.name, snapshot_name]
            variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
            subprocess.check_call(command, env=variables)
