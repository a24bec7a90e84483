"""The main job by a user who is not root, and with a libvirt that is reached by SSH."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.bed import Bed, template_env, two_nodes

from .other_user import UsersHost, user_of
from .scenario import NAME, Place, images_differ, keep_images
from .ssh_login import open_to_ssh

LONG_RUN = bool(os.environ.get("DEVOPS_LONG_RUN"))
NODE = "node-1"  # is on, the other one is not
NOTE = "/run/note"
OURS = """
import signal
from devops_snapshot.volumes.upload import NewVolume
create, fill, files = NewVolume.create, NewVolume.fill, []
"""
ENDED_BY = f"""{OURS}
def fill_and_end(self, *arguments, **keywords):
    files.append(fill(self, *arguments, **keywords))
    if len(files) == 3:
        os.kill(os.getpid(), signal.{{}})
NewVolume.fill = fill_and_end
"""
ANOTHER_IS_FASTER = f"""{OURS}
def create_twice(cls, *arguments):
    files.append(create(*arguments))
    return create(*arguments) if len(files) == 3 else files[-1]
NewVolume.create = classmethod(create_twice)
"""
KILLED = """
import signal
from devops_snapshot.volumes import upload
count = 0

def watch(owner, name, wrap=lambda function: function):
    original = getattr(owner, name)
    original = getattr(original, "__func__", original)

    def watched(*arguments, **keywords):
        global count
        result = original(*arguments, **keywords)
        count += 1
        if count == {}:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrap(watched))

watch(upload.NewVolume, "create", classmethod)
for name in ("fill", "begin_with"):
    watch(upload.NewVolume, name)
watch(upload, "_send")
"""


@dataclass(frozen=True)
class Lab:
    """An environment that a user has exported from alpha, and erased.

    :param far: the same user, with the libvirt of beta
    :param kept: its files
    """

    beta: Place
    far: Place
    storage: str
    export: str
    snapshot: str
    ticks: int
    kept: Path

    def bring(self, place: Place, *arguments: str) -> None:
        place.dos("import-env", self.export, "--storage", self.storage, *arguments)

    def check(self, place: Place) -> None:
        """Its guest counts on, and all files have come as they were."""
        self.check_guest(place)
        files = place.manifest(self.storage, self.export)["files"]
        assert len(files) == 6
        for file in files:
            name = Path(file["path"]).name
            one, other = self.kept / name, place.host.pool_dir / name
            if file["format"] == "qcow2":
                assert images_differ(one, other) == ""
            else:
                assert one.read_bytes() == other.read_bytes(), name

    def check_guest(self, place: Place) -> None:
        guest = place.guest(NODE)
        guest.close()  # the one of an earlier import
        ticks = guest.ticks()
        assert self.ticks <= ticks <= self.ticks + 200
        assert guest.read_file(NOTE) == "remembered"
        guest.run("sleep 0.3")
        assert guest.ticks() > ticks


@pytest.fixture(scope="module")
def lab(bed: Bed) -> Iterator[Lab]:
    with ExitStack() as stack:
        stack.callback(bed.clean)
        bed.storage()  # with it, hosts see each other
        hosts = [stack.enter_context(user_of(bed.host(name))) for name in ("alpha", "beta")]
        directory = Path(tempfile.mkdtemp())
        stack.callback(shutil.rmtree, directory)
        hosts[0].user.owns(directory)
        storage = f"file://{directory}/repository"
        alpha, beta = map(Place, hosts)
        env = template_env(bed.host("alpha"), name=NAME)
        alpha.dos("create-env", str(two_nodes(bed.host("alpha"))), **env)
        alpha.dos("node-start", NAME, "--node-name", NODE)
        alpha.guest(NODE).wait_boot()
        alpha.guest(NODE).write_file(NOTE, "remembered")
        ticks = alpha.guest(NODE).ticks()
        exported = alpha.export(storage=storage)
        kept = keep_images(alpha)
        alpha.dos("erase", NAME)
        assert alpha.is_empty()
        far = _far(bed, hosts[0])
        [snapshot] = exported["snapshots"]
        yield Lab(beta, far, storage, exported["id"], snapshot, ticks, kept)


def _far(bed: Bed, near: UsersHost) -> Place:
    host = UsersHost(bed.host("alpha"), libvirts=bed.host("beta"))
    keys = near.home / "keys"
    uri = open_to_ssh(bed.host("beta"), keys)
    near.user.owns(keys)
    return Place(host, {"CONNECTION_STRING": uri, "PATH": f"{keys}:{near.env['PATH']}"})


@pytest.fixture
def beta(lab: Lab) -> Iterator[Place]:
    yield lab.beta
    assert not list((lab.beta.host.home / ".cache/devops_snapshot/imports").iterdir())
    lab.beta.host.clean()
    shutil.rmtree(lab.beta.host.home / ".devops")


def test_it_comes_back(lab: Lab, beta: Place) -> None:
    lab.bring(beta)
    lab.check(beta)
    beta.dos("snapshot", NAME, "later")
    beta.dos("revert-resume", NAME, lab.snapshot)
    lab.check_guest(beta)
    _, line = beta.refused("env-shell", NAME, "true")
    assert "only root may make" in line
    beta.dos("destroy", NAME)
    beta.dos("snapshot-delete", NAME, "later")
    said = beta.host.dos("snapshot-delete", NAME, lab.snapshot).stderr
    assert "not ours to write: only while the guest is on, or by root" in said
    beta.dos("erase", NAME)
    assert beta.is_empty()


def test_no_room_for_the_layer_cache(lab: Lab) -> None:
    """It does not lie beside the storage pool, which has room."""
    host = lab.beta.host
    small = host.home / "small"
    small.mkdir()
    host.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=777", "none", str(small)])
    try:
        command = ("import-env", lab.export, "--storage", lab.storage)
        code, line = lab.beta.refused(*command, XDG_CACHE_HOME=str(small))
    finally:
        host.run(["umount", str(small)])
    assert code == 8
    assert f" KiB free in {small}/devops_snapshot, " in line
    assert "let XDG_CACHE_HOME name another directory" in line


def test_the_same_through_ssh(lab: Lab) -> None:
    lab.bring(lab.far)
    lab.check(lab.far)
    again = lab.far.export("--snapshot", lab.snapshot, storage=lab.storage)
    assert again["bytes_sent"] < 1_000_000  # the headers of the images name other paths here
    assert again["bytes_read"] > 100_000_000
    lab.far.dos("erase", NAME)
    assert lab.far.is_empty()


def test_a_host_that_ssh_does_not_know(lab: Lab) -> None:
    stranger = Place(lab.far.host, {**lab.far.env, "PATH": lab.far.host.env["PATH"]})
    _, line = stranger.refused("import-env", lab.export, "--storage", lab.storage)
    assert "Host key verification failed" in line
    assert re.search(r"'ssh root@[0-9.]+ true' has to work without a question", line)


def names(place: Place) -> set[str]:
    return {path.name for path in place.host.pool_dir.iterdir()}


def ended(lab: Lab, place: Place, before: str) -> tuple[int, str]:
    """An import that comes to an end; returns its exit code and what it said."""
    command = ["import-env", lab.export, "--storage", lab.storage]
    done = place.host.dos(*command, before=before, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_killed_between_two_files(lab: Lab, beta: Place) -> None:
    """What it had made goes; a file that another has brought since then stays."""
    assert ended(lab, beta, ENDED_BY.format("SIGKILL"))[0] == -9
    assert len(names(beta)) == 3
    others = {path.name for path in lab.kept.iterdir()} - names(beta)
    stranger = beta.host.pool_dir / min(others)
    shutil.copy(lab.kept / stranger.name, stranger)
    assert "was killed: what it had made is removed" in beta.host.dos("sync").stderr
    assert names(beta) == {stranger.name}
    assert stranger.read_bytes() == (lab.kept / stranger.name).read_bytes()


def test_interrupted(lab: Lab, beta: Place) -> None:
    assert ended(lab, beta, ENDED_BY.format("SIGINT"))[0] == 130
    assert beta.is_empty()


def test_another_takes_a_name_first(lab: Lab, beta: Place) -> None:
    code, said = ended(lab, beta, ANOTHER_IS_FASTER)
    assert code == 4
    [left] = names(beta)
    assert f"a file {beta.host.pool_dir / left} is there already" in said


@pytest.mark.skipif(not LONG_RUN, reason="minutes: set DEVOPS_LONG_RUN")
def test_killed_anywhere(lab: Lab, beta: Place) -> None:
    for number in count(1):
        code, _ = ended(lab, beta, KILLED.format(number))
        if code == 0:
            break
        assert code == -9
        assert "was killed: what it had made is removed" in beta.host.dos("sync").stderr
        assert beta.is_empty()
    assert number > 100
    lab.check(beta)
    beta.dos("erase", NAME)
