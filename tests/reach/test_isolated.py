"""Two copies with the same subnets and addresses on one host; env-shell in their hosts' place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devops_snapshot.models import IsolatedNetwork
from devops_snapshot.reach.place import Place
from tests.bed import GuestError, Host

from .lab import Lab, fetch, left_on, ping, run_in

GUEST, STATIC = "10.109.0.128", "10.109.1.2"


@pytest.fixture
def one(copies: tuple[Lab, Lab]) -> Iterator[Lab]:
    """With somebody inside."""
    with copies[0].open():
        yield copies[0]


def test_both_are_reached_at_the_same_addresses(copies: tuple[Lab, Lab]) -> None:
    one, two = copies
    with one.open(), two.open():
        for lab in copies:
            seen = lab.sees_all(fetch(GUEST, "who"), fetch("node-1", "who"), ping(STATIC))
            assert [answer.split()[0] for answer in seen] == [lab.name, lab.name, "PING"]
            assert "1 packets received" in seen[2]


def test_the_host_itself_has_nothing_to_do_with_them(copies: tuple[Lab, Lab]) -> None:
    host = copies[0].host
    addresses = run_in(host, "ip", "-4", "address", "show")
    assert "10.109." not in addresses
    assert host.run(ping(GUEST), check=False).returncode != 0


def test_the_host_does_not_hear_guests_who_know_its_mac_address(one: Lab) -> None:
    """It would take what is sent to any address of its own."""
    bridge, target = one.bridge("private"), "198.51.100.11"
    mac = run_in(one.host, "cat", f"/sys/class/net/{bridge}/address").strip()
    one.guest.run(f"ip route add {target}/32 dev eth1 src {STATIC}; arp -i eth1 -s {target} {mac}")
    run_in(one.host, "ip", "route", "add", f"{STATIC}/32", "dev", "uplink")
    try:
        run_in(one.host, "sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{bridge}/rp_filter")
        assert heard_from(one, target) == 1, "as any network"
        one.shell("true")
        assert heard_from(one, target) == 0
    finally:
        run_in(one.host, "ip", "route", "del", f"{STATIC}/32")
        one.guest.run(f"ip route del {target}/32; arp -i eth1 -d {target}")


def heard_from(lab: Lab, target: str) -> int:
    """How many pings of the guest the host gets of one; it has no way to answer."""
    before = echo_requests(lab.host)
    with pytest.raises(GuestError, match="100% packet loss"):
        lab.guest.run(" ".join(ping(target)))
    return echo_requests(lab.host) - before


def echo_requests(host: Host) -> int:
    """How many the host has got so far."""
    names, values = [
        line.split()
        for line in run_in(host, "cat", "/proc/net/snmp").splitlines()
        if line.startswith("Icmp:")
    ]
    return int(values[names.index("InEchos")])


def test_the_gateway_is_the_one_that_guests_know(one: Lab) -> None:
    """A guest that comes back from memory has its MAC address in the cache."""
    with one.database():
        originals = {record.network["name"]: record for record in IsolatedNetwork.objects.all()}
    mac = originals["one_admin"].network["mac"]
    one.guest.run("ip neigh flush dev eth0; " + " ".join(ping("10.109.0.1")))
    assert mac in one.guest.run("ip neigh show dev eth0")
    assert mac not in run_in(one.host, "ip", "link", "show", "type", "bridge")


def test_guests_get_out_where_the_network_led_out(one: Lab, outside: str) -> None:
    one.guest.run(" ".join(ping(outside)))
    answer = one.guest.run("nslookup localhost 10.109.0.1", check=False)
    assert "Address: 127.0.0.1" in answer, "as the host's resolver says"
    seen = one.sees_all(ping(outside), ["busybox", "nslookup", "localhost"])
    assert "1 packets received" in seen[0]
    assert "Address: 127.0.0.1\n" in seen[1]


def test_they_do_not_where_it_did_not(one: Lab, outside: str) -> None:
    """The gateway is there, but passes nothing on, neither out nor to the other network."""
    one.guest.run(" ".join(ping("10.109.1.1")))
    one.guest.run(f"ip route add {outside}/32 via 10.109.1.1 dev eth1")
    try:
        with pytest.raises(GuestError, match="100% packet loss"):
            one.guest.run(" ".join(ping(outside)))
    finally:
        one.guest.run(f"ip route del {outside}/32")


def test_a_firewall_that_lets_nothing_through_by_itself(
    copies: tuple[Lab, Lab], outside: str
) -> None:
    """As Docker and ufw leave it: what leads out is a network of libvirt's, with its exceptions."""
    lab = copies[0]
    for chain in ("INPUT", "FORWARD"):
        run_in(lab.host, "iptables", "-P", chain, "DROP")
    try:
        with lab.open():
            lab.guest.run(" ".join(ping(outside)))
            seen = lab.sees_all(["busybox", "nslookup", "localhost"], fetch(GUEST, "who"))
        assert "Address: 127.0.0.1\n" in seen[0]
        assert seen[1].split() == ["one"]
    finally:
        for chain in ("INPUT", "FORWARD"):
            run_in(lab.host, "iptables", "-P", chain, "ACCEPT")


def test_with_iptables_where_nft_does_not_work(
    copies: tuple[Lab, Lab], outside: str, tmp_path: Path
) -> None:
    lab = copies[0]
    path = broken(lab.host, tmp_path, "nft")
    with lab.open(env={"PATH": path}):
        lab.guest.run(" ".join(ping(outside)))


def test_guests_are_reached_where_nothing_can_be_forwarded(
    copies: tuple[Lab, Lab], tmp_path: Path
) -> None:
    lab = copies[0]
    path = broken(lab.host, tmp_path, "nft", "iptables-restore", "dnsmasq")
    done = lab.shell(*ping(GUEST), PATH=path)
    assert "no rules can be set: 'nsenter" in done.stderr
    assert "guests get neither DHCP nor DNS" in done.stderr


def broken(host: Host, directory: Path, *tools: str) -> str:
    """A ``PATH`` on which these fail."""
    for tool in tools:
        (directory / tool).write_text("#!/bin/sh\nexit 9\n")
        (directory / tool).chmod(0o755)
    return f"{directory}:{host.env['PATH']}"


def test_the_host_may_have_the_same_addresses_and_many_routes(
    copies: tuple[Lab, Lab], outside: str
) -> None:
    """As with the original beside its copy; and what leads out is beside all that it knows."""
    lab = copies[0]
    run_in(lab.host, "ip", "link", "add", "original", "type", "bridge")
    try:
        for address in ("10.109.0.1", GUEST):
            run_in(lab.host, "ip", "address", "add", f"{address}/24", "dev", "original")
        run_in(lab.host, "ip", "link", "set", "original", "up")
        run_in(lab.host, "ip", "route", "add", "unreachable", "198.18.0.0/16")
        lab.guest.run("ip neigh flush dev eth0")
        seen = lab.sees_all(fetch(GUEST, "who"), ["ip", "route"], ping(outside))
        assert seen[0].split() == ["one"]
        assert "default via 198.19." in seen[1]
        assert "1 packets received" in seen[2]
    finally:
        run_in(lab.host, "ip", "route", "del", "unreachable", "198.18.0.0/16")
        run_in(lab.host, "ip", "link", "del", "original")


def test_clocks_are_set_of_these_guests_and_of_no_others(copies: tuple[Lab, Lab]) -> None:
    """Others have the same addresses. (This one has no sshd, and says so.)"""
    lab = copies[1]
    done = lab.host.dos("time-sync", lab.name, env=lab.env, check=False)
    assert done.returncode == 1
    assert f"no SSH to root@{STATIC}:22: [Errno 111] Connection refused" in done.stderr


def test_names_of_a_manifest_stay_names(copies: tuple[Lab, Lab]) -> None:
    """dnsmasq runs programs for whoever writes its file; an export may be an attacker's."""
    lab = copies[0]
    with lab.database():
        record = IsolatedNetwork.objects.get(network__name="one_admin")
        [entry] = record.network["dhcp_hosts"]
        record.network["dhcp_hosts"] = [{**entry, "name": "x\ndhcp-script=/bin/false"}]
        record.save()
    path = Place.of(lab.name).directory / "dnsmasq.conf"
    with lab.open():
        written = run_in(lab.host, "cat", str(path))
    assert f"dhcp-host={entry['mac']},{GUEST}\n" in written
    assert "script" not in written


def test_erase_removes_it_from_under_those_inside(copies: tuple[Lab, Lab]) -> None:
    """Last. The other copy does not notice."""
    one, two = copies
    with one.open() as inside, two.open():
        one.dos("erase", "one")
        assert len([name for name in left_on(one.host) if name.startswith("devops-")]) == 2
        with one.database():
            assert not IsolatedNetwork.objects.exists()
        assert inside.poll() is None
        assert two.sees(*fetch(GUEST, "who")).split() == ["two"]
