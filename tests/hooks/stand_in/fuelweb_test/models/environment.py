"""Stand-in for fuel-qa's model of an environment."""

import os

from devops import settings as devops_settings  # noqa: F401 # fuel-devops runs in this process

from fuelweb_test import settings


class DevopsEnvironment:
    """Of fuel-devops."""

    name = os.environ.get("ENV_NAME", "fuel_system_test")


class EnvironmentModel(object):  # noqa: UP004 # Python 2.7 has two kinds of classes
    """With the one method that is wrapped."""

    d_env = DevopsEnvironment()

    def make_snapshot(self, snapshot_name, description="", is_make=False):
        """Snapshots are made in a file, by which the tests of the hook see what came first."""
        if (settings.MAKE_SNAPSHOT or is_make) and "SNAPSHOTS" in os.environ:
            with open(os.environ["SNAPSHOTS"], "a") as made:  # noqa: PTH123 # Python 2.7
                made.write(snapshot_name + "\n")
