"""A small suite as fuel-qa's are: for proboscis, in Python 2.7 and 3."""

from fuelweb_test.helpers.decorators import log_snapshot_after_test
from fuelweb_test.models.environment import EnvironmentModel
from proboscis import TestProgram, test


@test(groups=["deployment"])
class Deployment:
    """Of a cluster."""

    env = EnvironmentModel()

    @test
    @log_snapshot_after_test
    def deploy_one_controller(self):
        """Passes, and leaves a snapshot that other tests may start from."""
        self.env.make_snapshot("deploy_one_controller", "with one node", is_make=True)
        self.env.make_snapshot("nobody_asked_for_it")

    @test
    @log_snapshot_after_test
    def deploy_three_controllers_with_ceph_for_images_and_volumes(self):
        """Fails; the name of its snapshot does not begin with ``error_``."""
        raise ValueError("no quorum: \xe9")


if __name__ == "__main__":
    TestProgram().run_and_exit()
