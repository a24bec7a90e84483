"""fuel-devops's commands, on a real libvirt host."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import libvirt
import pytest

from tests.bed import Bed, GuestError, Host
from tests.bed.template import template_env, two_nodes

BMC = "bmc_network: true\n              bmc_port: 623"
STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
}


def states(host: Host) -> dict[str, str]:
    """What libvirt says about its domains."""
    return {domain.name(): STATES[domain.state()[0]] for domain in host.connection.listAllDomains()}


def things(host: Host) -> set[str]:
    """Everything that libvirt has on the host."""
    pool = host.connection.storagePoolLookupByName("default")
    pool.refresh()
    owners = (*host.connection.listAllDomains(), *host.connection.listAllNetworks())
    return {thing.name() for thing in (*owners, *pool.listAllVolumes())}


def table(host: Host, *arguments: str) -> list[list[str]]:
    """The rows of a command's table, cut at two spaces, without the rule."""
    lines = host.dos(*arguments).stdout.splitlines()
    assert re.fullmatch(r"(-+ *)+", lines[1])
    return [re.split(r" {2,}", line.strip()) for line in (lines[0], *lines[2:])]


@pytest.fixture
def lab(alpha: Host) -> Host:
    """The host, with an environment ``lab`` of two nodes that are off."""
    env = template_env(alpha, name="lab", system=False)
    done = alpha.dos("create-env", str(two_nodes(alpha)), env=env)
    assert (done.stdout, done.stderr) == ("", "")
    return alpha


def test_what_an_environment_is_shown_as(lab: Host) -> None:
    assert table(lab, "list") == [["NAME"], ["lab"]]
    assert lab.dos("list").stdout == "NAME\n------\nlab\n"
    header, row = table(lab, "list", "--ips", "--timestamps")
    assert (header, row[0]) == (["NAME", "ADMIN IP", "CREATED"], "lab")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d", row[-1])
    assert table(lab, "show", "lab") == [
        ["VNC", "NODE-NAME", "GROUP-NAME"],
        ["node-1", "default"],
        ["node-2", "default"],
    ]
    assert table(lab, "show-resources", "lab") == [
        ["NAME", "ROLE", "GROUP", "VCPU", "MEMORY,Gb", "STORAGE,Gb"],
        ["node-1", "slave", "default", "1", "128", "-"],
        ["node-2", "slave", "default", "1", "128", "1"],
        ["Total:", "2", "256", "1"],
    ]
    nets = dict(table(lab, "net-list", "lab"))
    assert list(nets) == ["NETWORK NAME", "admin-pool01", "private-pool01"]
    assert nets["NETWORK NAME"] == "IP NET"
    admin, private = (
        nets[name].removesuffix("0/24") for name in ("admin-pool01", "private-pool01")
    )
    assert lab.dos("slave-ip-list", "lab").stdout == (
        f"admin-pool01: node-1,{admin}128 node-2,{admin}129\n"
        f"private-pool01: node-1,{private}2 node-2,{private}3\n"
    )
    only = lab.dos("slave-ip-list", "lab", "-A", "private-pool01", "--ip-only").stdout
    assert only == f"{private}2 {private}3\n"
    none = lab.dos("slave-ip-list", "lab", "-A", "other", check=False)
    assert (none.returncode, none.stderr) == (
        1,
        "Error: No IPs were allocated for environment 'lab'\n",
    )


def test_from_start_to_erase(lab: Host) -> None:
    assert states(lab) == {"lab_node-1": "off", "lab_node-2": "off"}
    lab.dos("start", "lab")
    assert states(lab) == {"lab_node-1": "running", "lab_node-2": "running"}
    ports = [row[0] for row in table(lab, "show", "lab")[1:]]
    assert len(set(ports)) == 2
    assert all(int(port) >= 5900 for port in ports)

    lab.dos("suspend", "lab")
    assert states(lab) == {"lab_node-1": "paused", "lab_node-2": "paused"}
    lab.dos("resume", "lab")
    assert states(lab) == {"lab_node-1": "running", "lab_node-2": "running"}

    lab.dos("node-destroy", "lab", "--node-name", "node-2")
    assert states(lab) == {"lab_node-1": "running", "lab_node-2": "off"}
    lab.dos("node-start", "lab", "-N", "node-2")
    assert states(lab) == {"lab_node-1": "running", "lab_node-2": "running"}
    lab.dos("node-reset", "lab", "-N", "node-1")
    assert states(lab) == {"lab_node-1": "running", "lab_node-2": "running"}

    lab.dos("destroy", "lab")
    assert states(lab) == {"lab_node-1": "off", "lab_node-2": "off"}
    lab.dos("start", "lab")
    lab.dos("erase", "lab")
    assert things(lab) == set()
    assert lab.dos("list").stdout == ""


def test_a_reset_starts_the_guest_again(alpha: Host) -> None:
    alpha.dos("create-env", str(two_nodes(alpha)), env=template_env(alpha, name="lab"))
    alpha.dos("node-start", "lab", "-N", "node-2")
    guest = alpha.guest("lab_node-2")
    guest.wait_boot()
    assert guest.run("echo here") == "here"
    alpha.dos("node-reset", "lab", "-N", "node-2")
    with pytest.raises(GuestError):  # it takes some seconds to boot
        guest.run("echo here", timeout=1.0)


def test_old_environments(lab: Host) -> None:
    assert lab.dos("list-old", "1h").stdout == ""
    assert lab.dos("erase-old", "1h").stdout == "Nothing to erase, exiting...\n"
    time.sleep(1.1)
    assert table(lab, "list-old", "1s") == [["NAME"], ["lab"]]
    refused = lab.dos("erase-old", "1s", input="n\n").stdout
    assert refused.startswith("Env 'lab' will be erased!\n")
    assert refused.endswith("Nothing was erased\n")
    assert table(lab, "list") == [["NAME"], ["lab"]]
    assert lab.dos("erase-old", "1s", "--force-cleanup").stdout.endswith("Erasing 'lab'...\n")
    assert things(lab) == set()


def test_names_that_are_taken(lab: Host) -> None:
    before = things(lab)
    env = template_env(lab, name="lab", system=False)
    again = lab.dos("create-env", str(two_nodes(lab)), env=env, check=False)
    assert again.returncode == 4
    assert again.stderr == (
        "Error: Environment 'lab' already exists. Choose another name or run `dos.py erase lab`\n"
    )
    # another database on the same libvirt
    other = {**env, "DEVOPS_DB_ENGINE": "sqlite3", "DEVOPS_DB_NAME": f"{lab.home}/other.sqlite3"}
    again = lab.dos("create-env", str(two_nodes(lab)), env=other, check=False)
    assert (again.returncode, again.stderr.count("\n")) == (4, 1)
    assert "network 'lab_admin' is already there" in again.stderr
    assert lab.dos("list", env=other).stdout == ""
    assert things(lab) == before


def template_with(host: Host, old: str, new: str) -> Path:
    text = two_nodes(host).read_text()
    assert old in text
    path = host.home / "template.yaml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        # found before anything is made
        ("memory: 128", BMC, 5, "bmc_network of node 'node-1'"),
        ("!os_env GUEST_ISO", "/nowhere/guest.iso", 3, "/nowhere/guest.iso"),
        ("STORAGE_POOL_NAME, default", "STORAGE_POOL_NAME, none", 3, "storage pool 'none'"),
        ("CONNECTION_STRING, qemu", "NOTHING, nosuch", 1, "nosuch:///system"),
        # only libvirt says so, when networks and volumes are there
        ("boot: [cdrom, hd]", "boot: [cdrom, tape]", 1, "tape"),
    ],
)
def test_an_environment_that_cannot_be_made_leaves_nothing(
    alpha: Host, old: str, new: str, code: int, message: str
) -> None:
    template = template_with(alpha, old, new)
    done = alpha.dos(
        "create-env", str(template), env=template_env(alpha, system=False), check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert things(alpha) == set()
    assert alpha.dos("list").stdout == ""


@pytest.mark.parametrize("on_postgres", [False, True])
def test_environments_made_at_the_same_moment(alpha: Host, bed: Bed, on_postgres: bool) -> None:
    database = bed.postgres(alpha).env if on_postgres else {}
    alpha.dos("migrate", env=database)
    processes = [
        alpha.popen(
            ["python", "-m", "devops_snapshot", "create-env", str(two_nodes(alpha))],
            env={**database, **template_env(alpha, name=name, system=False)},
        )
        for name in ("one", "two", "three")
    ]
    for process in processes:
        assert process.communicate(timeout=120) == ("", "")
        assert process.returncode == 0
    nets = [row[1] for name in ("one", "two", "three") for row in nets_of(alpha, name, database)]
    assert sorted(nets) == [f"10.109.{number}.0/24" for number in range(6)]
    for name in ("one", "two", "three"):
        alpha.dos("erase", name, env=database)
    assert things(alpha) == set()


def nets_of(host: Host, name: str, database: dict[str, str]) -> list[list[str]]:
    lines = host.dos("net-list", name, env=database).stdout.splitlines()[2:]
    return [line.split() for line in lines]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_asked_to_end_while_volumes_are_made(alpha: Host, number: signal.Signals) -> None:
    image = alpha.home / "large.iso"
    image.touch()
    os.truncate(image, 2 << 30)
    env = {**template_env(alpha), "GUEST_ISO": str(image)}
    python = ["python", "-m", "devops_snapshot"]
    process = alpha.popen([*python, "create-env", str(two_nodes(alpha))], env=env)
    pool = alpha.connection.storagePoolLookupByName("default")
    while "demo_node-1_iso" not in pool.listVolumes():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in complaint
    assert things(alpha) == set()
    assert alpha.dos("list").stdout == ""


def test_what_was_made_but_not_recorded_goes_as_well(alpha: Host) -> None:
    # as if the interruption had come between libvirt's answer and the row
    alpha.dos("create-env", str(two_nodes(alpha)), env=template_env(alpha, system=False))
    script = """
import django
django.setup()
from devops_snapshot.devops.creation import erased_on_failure
from devops_snapshot.devops.models import Environment, L2NetworkDevice, Node, Volume
for model in (L2NetworkDevice, Node, Volume):
    for row in model.objects.all():
        row.uuid = None
        row.save()
with erased_on_failure(Environment.get(name="demo")):
    raise KeyboardInterrupt
"""
    env = {"DJANGO_SETTINGS_MODULE": "devops_snapshot.settings"}
    done = alpha.run(["python", "-c", script], env=env, check=False)
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert things(alpha) == set()
    assert alpha.dos("list").stdout == ""
