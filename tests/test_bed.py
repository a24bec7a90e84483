"""The test bed itself: what all other tests with libvirt rely on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bed import Bed, Guest, GuestError, Host, Postgres, Storage, namespaces_available
from tests.bed.bed import sweep_dead_beds
from tests.bed.guest import domain_xml
from tests.bed.keeper import descendants

CHECKOUT = Path(__file__).parents[1]
NEEDS_NAMESPACES = pytest.mark.skipif(not namespaces_available(), reason="no rights to unshare")
NETWORK_XML = """\
<network>
  <name>{name}</name><forward mode='nat'/><bridge stp='on'/>
  <ip address='10.109.0.1' prefix='24'>
    <dhcp><range start='10.109.0.128' end='10.109.0.224'/></dhcp>
  </ip>
</network>
"""
#: A process that owns a bed with a running domain and says so; then it waits to be killed.
OWNER = """\
import time
from tests.bed import Bed, domain_xml

with Bed({arguments}) as bed:
    host = bed.host("alpha")
    bed.storage()
    iso = host.pool_dir / "guest.iso"
    iso.write_bytes(bed.guest_iso.read_bytes())
    host.connection.createXML(domain_xml("guest", iso=iso))
    print(bed.directory, flush=True)
    time.sleep(60)
"""


def start_guest(bed: Bed, host: Host, *, networks: tuple[str, ...] = ()) -> Guest:
    """A running guest ``node`` with a disk of 64 MiB, all of whose files lie in the pool."""
    iso, disk = host.pool_dir / "guest.iso", host.pool_dir / "disk.qcow2"
    shutil.copy(bed.guest_iso, iso)
    host.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"])
    xml = domain_xml("node", iso=iso, disks=[disk], networks=networks)
    host.connection.defineXML(xml).create()
    return host.guest("node")


def start_network(host: Host, name: str) -> None:
    host.connection.networkDefineXML(NETWORK_XML.format(name=name)).create()


def test_a_guest_saved_on_one_host_counts_on_on_the_other(
    clean_hosts: Bed, alpha: Host, beta: Host
) -> None:
    for host in (alpha, beta):
        start_network(host, "net")
    node = start_guest(clean_hosts, alpha, networks=("net",))
    node.wait_boot()
    assert node.address().startswith("10.109.0.")
    node.write_file("/run/remember", "only in memory")
    written = node.fill_disk(mebibytes=4, offset=10)
    last_seen = node.ticks()

    memory = alpha.pool_dir / "memory"
    node.domain.save(str(memory))
    saved_at = time.monotonic()
    for path in alpha.pool_dir.iterdir():
        shutil.copy(path, beta.pool_dir)
    xml = alpha.connection.saveImageGetXMLDesc(str(memory))
    time.sleep(2.0)
    beta.connection.restoreFlags(
        str(beta.pool_dir / "memory"), xml.replace(str(alpha.pool_dir), str(beta.pool_dir))
    )

    copy = beta.guest("node")
    first_seen = copy.ticks()
    assert last_seen <= first_seen < last_seen + 10 * (time.monotonic() - saved_at)
    assert copy.read_file("/run/remember") == "only in memory"
    assert copy.disk_digest(mebibytes=4, offset=10) == written
    time.sleep(0.5)
    assert copy.ticks() > first_seen


def test_guest_says_how_a_command_ended(clean_hosts: Bed, alpha: Host) -> None:
    node = start_guest(clean_hosts, alpha)
    node.wait_boot()
    assert node.run("echo one; echo two >&2; false", check=False) == "one\ntwo"
    with pytest.raises(GuestError, match=r"ended with 3: why"):
        node.run("echo why; exit 3")
    binary = bytes(range(256)) * 20
    node.write_file("/run/file", binary)
    assert node.run("wc -c < /run/file") == str(len(binary))

    # Nobody listens for longer than the terminal has room for what the guest prints meanwhile.
    node.run("for n in $(seq 2000); do echo noise > /dev/ttyS0; done")
    node.close()
    assert node.run("echo still there") == "still there"


def test_hosts_do_not_see_each_other(clean_hosts: Bed, alpha: Host, beta: Host) -> None:
    for host in (alpha, beta):  # the same bridge and addresses on both
        start_network(host, "net")
    assert "10.109.0.1/24" in alpha.run(["ip", "-br", "address"]).stdout
    start_guest(clean_hosts, alpha)
    assert beta.connection.listAllDomains() == []
    assert beta.run(["ls", str(beta.pool_dir)]).stdout == ""
    assert beta.run(["ls", str(alpha.pool_dir)], check=False).returncode != 0


def test_the_machine_itself_is_not_touched(clean_hosts: Bed, alpha: Host) -> None:
    links, mounts = machine_state()
    start_network(alpha, "net")
    assert machine_state() == (links, mounts)
    assert alpha.env.keys().isdisjoint(name for name in os.environ if name.startswith("DEVOPS"))


def test_clean_leaves_nothing_on_a_host(bed: Bed) -> None:
    alpha = bed.host("alpha")
    start_network(alpha, "net")
    domain = start_guest(bed, alpha).domain
    domain.snapshotCreateXML("<domainsnapshot><name>internal</name></domainsnapshot>")
    (alpha.home / ".devops").mkdir()
    bed.clean()
    assert alpha.connection.listAllDomains() == []
    assert alpha.connection.listAllNetworks() == []
    assert alpha.connection.storagePoolLookupByName("default").listAllVolumes() == []
    assert list(alpha.pool_dir.iterdir()) == []
    assert not (alpha.home / ".devops").exists()


def test_storage_node_is_reached_with_its_key_checked(
    storage: Storage, alpha: Host, beta: Host
) -> None:
    assert storage.url == "sftp://devops@198.51.100.1/srv/devops"
    alpha.run(sftp(alpha, storage), input="mkdir /srv/devops\n")
    assert storage.path_of(storage.url).is_dir()
    assert "/srv/devops" in beta.run(sftp(beta, storage), input="ls /srv\n").stdout

    (beta.home / ".ssh/known_hosts").write_text("")
    refused = beta.run(sftp(beta, storage), input="ls /srv\n", check=False)
    storage.admit(beta)
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


def test_postgres_answers_inside_and_outside(
    postgres: Postgres, alpha: Host, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text("CREATE TABLE tests (name text); INSERT INTO tests VALUES ('loaded');")
    postgres.load(dump)
    assert postgres.query("SELECT name FROM tests") == [("loaded",)]
    user, port = postgres.env["DEVOPS_DB_USER"], postgres.env["DEVOPS_DB_PORT"]
    psql = ["psql", "-h", "127.0.0.1", "-p", port, "-U", user, "-At", "-c", "TABLE tests"]
    assert alpha.run(psql).stdout == "loaded\n"
    postgres.reset()
    assert postgres.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_signals_reach_a_command_on_a_host(bed: Bed) -> None:
    alpha = bed.host("alpha")
    script = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.1; done"
    with alpha.popen(["sh", "-c", script]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait(10) == 7


@pytest.mark.parametrize(
    ("ending", "status"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 15)", -15)]
)
def test_python_is_as_if_it_were_started_each_time(bed: Bed, ending: str, status: int) -> None:
    alpha = bed.host("alpha")
    code = f"""
import os, sys
print(sys.stdin.read(), os.getcwd(), sorted(os.environ.items()), sys.argv, sys.path, __name__)
print([name for name in sys.modules if name.startswith(("devops_snapshot", "tests"))])
print([stream.seekable() for stream in (sys.stdin, sys.stdout, sys.stderr)])
print([(stream.encoding, stream.errors) for stream in (sys.stdin, sys.stdout, sys.stderr)])
print("complaint", file=sys.stderr, flush=True)
sys.stdout.flush()
import devops_snapshot
{ending}
"""
    for _ in range(2):
        seen = {
            (done.returncode, done.stdout, done.stderr)
            for done in (
                alpha.python("-c", code, "x", check=False, env={"WHO": "me"}, input="said"),
                alpha.run(
                    [sys.executable, "-c", code, "x"], check=False, env={"WHO": "me"}, input="said"
                ),
            )
        }
        assert len(seen) == 1, seen
    [(code, output, complaint)] = seen
    assert (code, complaint) == (status, "complaint\n")
    assert output.startswith(f"said {alpha.home}")
    assert "\n[]\n" in output


def test_python_that_takes_too_long_is_killed(bed: Bed) -> None:
    alpha = bed.host("alpha")
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        alpha.python("-c", script, timeout=1)
    pid = (alpha.home / "pid").read_text()
    wait_until(lambda: alpha.run(["test", "-e", f"/proc/{pid}"], check=False).returncode != 0)
    assert alpha.python("-m", "this").stdout.startswith("The Zen")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    "arguments", [pytest.param("", marks=NEEDS_NAMESPACES), "namespaces=False"]
)
def test_nothing_is_left_when_the_owner_is_killed(how: signal.Signals, arguments: str) -> None:
    before = machine_state()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(arguments=arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=CHECKOUT,
    ) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        assert directory.is_dir()
        processes = set(descendants(owner.pid))
        commands = {command_of(pid) for pid in processes}
        assert {"libvirtd", "sshd", "qemu-system-x86"} <= commands
        owner.send_signal(how)
    wait_until(lambda: not any(map(command_of, processes)))
    wait_until(lambda: not directory.exists())
    assert machine_state() == before


def test_the_next_bed_removes_what_a_dead_one_left() -> None:
    with Bed(namespaces=False) as bed:
        alive = bed.directory
        dead = alive.with_name(f"{alive.name}-dead")
        dead.mkdir()
        (dead / "lock").touch()
        sweep_dead_beds()
        assert alive.is_dir()
        assert not dead.exists()


def test_without_namespaces_a_guest_runs_and_storage_answers() -> None:
    with Bed(namespaces=False) as bed:
        host, storage = bed.host("alpha"), bed.storage()
        node = start_guest(bed, host)
        host.run(sftp(host, storage), input=f"mkdir {storage.srv}/devops\n")
        assert storage.path_of(storage.url).is_dir()
        node.wait_boot()
        assert node.ticks() > 0
        assert bed.host("beta").connection.listAllDomains() == []
    assert not bed.directory.exists()


def sftp(host: Host, storage: Storage) -> list[str]:
    return ["sftp", "-F", str(host.home / ".ssh/config"), "-b", "-", storage.login.address]


def machine_state() -> tuple[list[str], str]:
    """The network interfaces and mounts that are seen outside of the bed."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir()), Path(
        "/proc/self/mounts"
    ).read_text()


def command_of(pid: int) -> str:
    """The name of a process; empty when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    name, _, state = stat.partition("(")[2].rpartition(") ")
    return "" if state.startswith("Z") else name


def wait_until(condition: Callable[[], bool], *, timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
