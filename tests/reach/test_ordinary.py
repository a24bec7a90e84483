"""env-shell in an environment whose networks are as they were created."""

from __future__ import annotations

import time

import pytest

from tests.bed import Host

from .lab import Lab, fetch, left_on, ping, run_in, serve


@pytest.fixture(scope="module")
def seen(outside: str, ordinary: Lab) -> dict[str, str]:
    """What is found inside, by what is looked for."""
    serve(ordinary.guest, "who", "trip")
    commands = {
        "by address": fetch(ordinary.guest.address(), "who"),
        "by name": fetch("node-1", "who"),
        "addresses": ["ip", "-br", "-4", "address", "show"],
        "outside": ping(outside),
        "resolver": ["cat", "/etc/resolv.conf"],
        "names": ["busybox", "nslookup", "localhost"],
        "ssh to an address": ["ssh", "-G", "10.109.0.2"],
        "ssh to a name": ["ssh", "-G", "node-1"],
        "ssh out": ["ssh", "-G", outside],
    }
    return dict(zip(commands, ordinary.sees_all(*commands.values()), strict=True))


def test_reaches_guests_by_address_and_by_name(seen: dict[str, str]) -> None:
    assert seen["by address"].split() == seen["by name"].split() == ["trip"]


def test_has_an_address_of_its_own_on_each_network(seen: dict[str, str]) -> None:
    """Neither the host's nor one that DHCP gives away."""
    addresses = dict(line.split()[0:3:2] for line in seen["addresses"].splitlines())
    assert {name.partition("@")[0]: ip for name, ip in addresses.items()} == {
        "lo": "127.0.0.1/8",
        "admin": "10.109.0.254/24",
        "private": "10.109.1.254/24",
    }


def test_leads_out_through_the_host(seen: dict[str, str]) -> None:
    assert "1 packets received" in seen["outside"]


def test_takes_names_from_the_host_s_resolver_for_the_network(seen: dict[str, str]) -> None:
    assert seen["resolver"].split()[-2:] == ["nameserver", "10.109.0.1"]
    assert "Address: 127.0.0.1\n" in seen["names"]


def test_ssh_does_not_ask_for_keys_of_guests(seen: dict[str, str]) -> None:
    """The same address has another key in each environment; elsewhere it is checked as always."""
    for inside in (seen["ssh to an address"], seen["ssh to a name"]):
        assert "\nuserknownhostsfile /dev/null\n" in inside
        assert "\nstricthostkeychecking false\n" in inside
    assert "\nstricthostkeychecking ask\n" in seen["ssh out"]
    assert "/.ssh/known_hosts" in seen["ssh out"]


def test_several_share_one_namespace_and_the_last_one_removes_it(ordinary: Lab) -> None:
    namespace = ("readlink", "/proc/self/ns/net")
    with ordinary.open() as first:
        inside = ordinary.sees(*namespace)
        with ordinary.open() as second:
            assert ordinary.sees(*namespace) == inside != run_in(ordinary.host, *namespace)
            first.terminate()
            first.wait(timeout=20)
            assert ordinary.sees(*namespace) == inside
            assert left_on(ordinary.host)
            second.terminate()
            second.wait(timeout=20)
    assert not left_on(ordinary.host)


def test_takes_no_address_that_a_guest_has(ordinary: Lab) -> None:
    """One that only the guest itself knows of, as in a cloud that is deployed in there."""
    guest = ordinary.guest
    guest.run("ip address add 10.109.0.254/24 dev eth0")
    try:
        assert "10.109.0.253/24" in ordinary.sees("ip", "-br", "address", "show", "dev", "admin")
        ordinary.shell(*ping("10.109.0.254"))
    finally:
        guest.run("ip address del 10.109.0.254/24 dev eth0")


def test_a_bridge_with_spanning_tree_is_waited_for(ordinary: Lab) -> None:
    """It takes two seconds to listen and two to learn; what is sent meanwhile is lost."""
    bridge = ordinary.bridge("admin")
    setting = ["ip", "link", "set", bridge, "type", "bridge"]
    run_in(ordinary.host, *setting, "forward_delay", "200", "stp_state", "1")
    try:
        begin = time.monotonic()
        ordinary.shell("busybox", "ping", "-c", "1", "-W", "1", ordinary.guest.address())
        assert time.monotonic() - begin > 4
    finally:
        run_in(ordinary.host, *setting, "stp_state", "0")
        run_in(ordinary.host, *setting, "forward_delay", "0")


def test_a_network_that_is_started_anew_is_joined_by_the_next_one(ordinary: Lab) -> None:
    """Its bridge is another one then. (No guest is on it, for those would have to be, too.)"""
    network = ordinary.network("private")
    ports = ("ls", f"/sys/class/net/{ordinary.bridge('private')}/brif")
    with ordinary.open():
        assert "ds" in run_in(ordinary.host, *ports)
        network.destroy()
        network.create()
        assert "ds" not in run_in(ordinary.host, *ports)
        ordinary.shell("true")
        assert "ds" in run_in(ordinary.host, *ports)


def test_a_network_that_is_down_is_passed_over(ordinary: Lab) -> None:
    network = ordinary.network("private")
    network.destroy()
    try:
        done = ordinary.shell("ip", "-br", "link")
        assert "private" not in done.stdout
        assert "WARNING: network 'private' is down" in done.stderr
    finally:
        network.create()


def test_no_network_is_up(host: Host) -> None:
    lab = Lab.create(host, "quiet")
    code, line = lab.refused("true")
    assert code == 1
    assert line.endswith(
        "no network of environment 'quiet' is up. 'dos.py start quiet' brings them up"
    )
    lab.dos("erase", "quiet")


def test_there_is_no_such_environment(ordinary: Lab) -> None:
    done = ordinary.host.dos("env-shell", "nobody", "true", env=ordinary.env, check=False)
    assert done.returncode == 3


def test_a_host_that_has_stopped_forwarding_is_told(ordinary: Lab) -> None:
    setting = "/proc/sys/net/ipv4/ip_forward"
    run_in(ordinary.host, "sh", "-c", f"echo 0 > {setting}")
    try:
        assert "this host does not forward" in ordinary.shell("true").stderr
    finally:
        run_in(ordinary.host, "sh", "-c", f"echo 1 > {setting}")
