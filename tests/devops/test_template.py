"""Templates: what they may contain, and what is said about those that make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devops_snapshot.devops.template import check_settings, load_template
from devops_snapshot.errors import DevopsError, TemplateError, UnsupportedError

from .test_rows import TEMPLATES

# A template in which one line at a time is replaced; {MARK} is nothing.
SOUND = """\
env_name: lab
address_pools:
  admin-pool:
    net: 10.77.0.0/16:24
    params:
      ip_ranges:
        dhcp: [+3, +9]
groups:
  - name: default
    driver:
      name: devops.driver.libvirt
      params:
        stp: true
    network_pools:
      admin: admin-pool
    l2_network_devices:
      admin:
        address_pool: admin-pool
        forward:
          mode: nat
      other:
        parent_iface:
          l2_net_dev: admin
    group_volumes:
      - name: golden
        capacity: 1
    nodes:
      - name: master
        role: fuel_master
        params:
          memory: 512
          volumes:
            - name: system
              backing_store: golden
              bus: virtio
          interfaces:
            - label: eth0
              l2_network_device: admin
              interface_model: virtio
          network_config:
            bond0:
              parents: [eth0]
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "template.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Load a text as a template, with these environment variables."""
    return lambda text, **environ: load_template(write(tmp_path, text), environ)


def test_the_template_that_the_others_are_made_from_is_sound(load: Any) -> None:
    assert load(SOUND)["env_name"] == "lab"


def test_settings_may_stand_under_template_devops_settings(load: Any) -> None:
    indented = "".join(f"    {line}\n" for line in SOUND.splitlines())
    wrapped = "template:\n  name: nightly\n  devops_settings:\n" + indented
    assert load(wrapped) == load(SOUND)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("8", 8),
        ("-2", -2),
        ("0x10", 16),
        ("1.5", 1.5),
        ("true", True),
        ("off", False),
        ("10.77.0.0/16:24", "10.77.0.0/16:24"),
        ("'8'", "8"),
        ("[network, hd]", ["network", "hd"]),
        ("qemu:///system", "qemu:///system"),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("", None),
    ],
)
def test_os_env_reads_values_as_yaml(load: Any, value: str, expected: object) -> None:
    text = SOUND + "extra:\n  - !os_env VALUE\n  - !os_env OTHER, " + value + "\n"
    assert load(text, VALUE=value)["extra"] == [expected, expected]


def test_the_environment_comes_before_the_default(load: Any) -> None:
    text = SOUND.replace("env_name: lab", "env_name: !os_env ENV_NAME, lab")
    assert load(text)["env_name"] == "lab"
    assert load(text, ENV_NAME="nightly")["env_name"] == "nightly"
    assert load(text, ENV_NAME="42")["env_name"] == "42"


def test_anchors_and_merge_keys(load: Any) -> None:
    text = (
        "base: &base {a: 1, b: 2}\nmore: &more\n  <<: *base\n  b: 3\nmost:\n  <<: *more\n" + SOUND
    )
    settings = load(text)
    assert settings["most"] == {"a": 1, "b": 3}


def test_include_is_relative_to_the_file_it_stands_in(tmp_path: Path) -> None:
    (tmp_path / "parts/deep").mkdir(parents=True)
    (tmp_path / "parts/groups.yaml").write_text("!include deep/groups.yaml\n")
    head, groups = SOUND.split("groups:\n")
    (tmp_path / "parts/deep/groups.yaml").write_text(groups)
    path = write(tmp_path, head + "groups: !include parts/groups.yaml\n")
    assert load_template(path, {}) == load_template(write(tmp_path, SOUND), {})


def test_a_mistake_in_an_included_file_is_found_there(tmp_path: Path) -> None:
    head, groups = SOUND.split("groups:\n")
    (tmp_path / "groups.yaml").write_text(groups.replace("memory", "memroy"))
    path = write(tmp_path, head + "groups: !include groups.yaml\n")
    with pytest.raises(TemplateError) as error:
        load_template(path, {})
    assert str(error.value) == (
        f"{tmp_path}/groups.yaml:23: Unknown parameter 'memroy' of node. Did you mean memory?"
    )


MISTAKES = [
    # line replaced, replacement, number of the line that is named, what is said
    ("env_name: lab", "env_name: !os_env NAME", 1, "Environment variable NAME is not set"),
    ("env_name: lab", "env_name: !os_env", 1, "!os_env lacks the name of a variable"),
    ("env_name: lab", "env_name: !os_env ODD", 1, "The value of ODD is no YAML: '[a'"),
    ("env_name: lab", "env_name: !include no.yaml", 1, "Cannot read {dir}/no.yaml: No such file"),
    ("env_name: lab", "env_name: !include template.yaml", 1, "template.yaml includes itself"),
    ("env_name: lab", "env_name: !python/object:os.x {}", 1, "could not determine a constructor"),
    ("env_name: lab", "other: lab", 1, "`env_name` is missing"),
    ("env_name: lab", "env_name: [lab]", 1, "`env_name` is a text, not ['lab']"),
    ("env_name: lab", "env_name: lab\nenv_name: b", 2, "'env_name' is there already"),
    ("env_name: lab", "env_name: 'lab", 43, "found unexpected"),
    ("env_name: lab", "\tenv_name: lab", 1, "found character '\\t' that cannot start any token"),
    ("  admin-pool:", "  admin-pool: {net: 1}\n  admin-pool:", 4, "'admin-pool' is there already"),
    (
        "    net: 10.77.0.0/16:24",
        "    nett: 10.77.0.0/16:24",
        4,
        "Unknown parameter 'nett' of addr",
    ),
    ("    net: 10.77.0.0/16:24", "    net: 10.77.0/16:24x", 4, "'10.77.0/16:24x' is no network"),
    (
        "    net: 10.77.0.0/16:24",
        "    net: 10.77.0.0/16:12",
        4,
        "cannot be cut into subnets of /12",
    ),
    ("    net: 10.77.0.0/16:24", "", 5, "Address pool 'admin-pool' lacks `net`"),
    ("      ip_ranges:", "      ip_range:", 6, "Unknown parameter 'ip_range' of address pool"),
    ("        dhcp: [+3, +9]", "        dhcp: +3", 7, "Range 'dhcp' is not [first, last]"),
    ("  - name: default", "  - nam: default", 9, "`name` is missing"),
    ("      name: devops.driver.libvirt", "      name: vmware", 11, "Unknown driver 'vmware'"),
    (
        "      name: devops.driver.libvirt",
        "      name: devops.driver.baremetal",
        11,
        "The driver 'devops.driver.baremetal' of fuel-devops is not supported",
    ),
    ("        stp: true", "        stp: why", 13, "stp is true or false, not 'why'"),
    ("        stp: true", "        spt: true", 13, "Unknown parameter 'spt' of driver"),
    ("      admin: admin-pool", "      admin: nowhere", 15, "Unknown address pool 'nowhere'"),
    (
        "        address_pool: admin-pool",
        "        address_pool: nowhere",
        18,
        "Unknown address pool 'nowhere'",
    ),
    ("          mode: nat", "          mode: nut", 19, "'nut' is no value for mode"),
    ("          mode: nat", "          mood: nat", 19, "forward has no field 'mood', only: mode"),
    ("          l2_net_dev: admin", "          l2_net_dev: x", 23, "Unknown l2_network_device 'x'"),
    (
        "      - name: golden",
        "      - name: golden\n      - name: golden",
        26,
        "Group volume 'golden'",
    ),
    ("        capacity: 1", "        capactiy: 1", 26, "Unknown parameter 'capactiy' of volume"),
    ("      - name: master", "      - name: master\n      - name: master", 29, "Node 'master' is"),
    (
        "        role: fuel_master",
        "        rule: fuel_master",
        29,
        "Unknown parameter 'rule' of node",
    ),
    ("          memory: 512", "          memory: much", 31, "memory is a number, not 'much'"),
    ("          memory: 512", "          memory: true", 31, "memory is a number, not True"),
    ("          memory: 512", "          boot: hd", 31, "boot is a list, not 'hd'"),
    ("          memory: 512", "          hypervisor: xen", 31, "'xen' is no value for hypervisor"),
    ("          memory: 512", "          _class: x", 31, "Unknown parameter '_class' of node"),
    (
        "              backing_store: golden",
        "              backing_store: silver",
        34,
        "Unknown backing_store 'silver'",
    ),
    ("              bus: virtio", "              bus: isa", 35, "'isa' is no value for bus"),
    (
        "              bus: virtio",
        "              format: vmdk",
        35,
        "'vmdk' is no value for format",
    ),
    ("            - label: eth0", "            - lable: eth0", 37, "`label` is missing"),
    (
        "              l2_network_device: admin",
        "              l2_network_device: amdin",
        38,
        "Unknown l2_network_device 'amdin'. Known: admin, other",
    ),
    (
        "              interface_model: virtio",
        "              interface_model: ne2000",
        39,
        "Unknown interface model 'ne2000'",
    ),
    (
        "              interface_model: virtio",
        "              mac_address: 64:00:01",
        39,
        "'64:00:01' is no MAC address",
    ),
    (
        "              parents: [eth0]",
        "              parents: [eth7]",
        42,
        "Unknown interface 'eth7'",
    ),
    (
        "              parents: [eth0]",
        "              parent: [eth0]",
        42,
        "Unknown parameter 'parent'",
    ),
]


@pytest.mark.parametrize(("line", "replacement", "number", "message"), MISTAKES)
def test_mistakes(
    load: Any, tmp_path: Path, line: str, replacement: str, number: int, message: str
) -> None:
    lines = SOUND.splitlines()
    assert lines.count(line) == 1
    lines[lines.index(line)] = replacement
    with pytest.raises(DevopsError) as error:
        load("\n".join(lines) + "\n", ODD="[a")
    said = str(error.value)
    assert said.startswith(f"{tmp_path}/template.yaml:{number}: ")
    assert message.format(dir=tmp_path) in said
    assert "\n" not in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"Cannot read .*/none.yaml: No such file or directory"):
        load_template(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["", "just text\n", "- a list\n"])
def test_a_file_that_is_no_template(load: Any, text: str) -> None:
    with pytest.raises(TemplateError, match=r"is no template: it has no `env_name`"):
        load(text)


def test_settings_may_come_from_python(load: Any) -> None:
    with pytest.raises(UnsupportedError) as error:
        check_settings({"env_name": "x", "groups": [{"name": "g", "driver": {"name": "vmware"}}]})
    assert str(error.value) == "Unknown driver 'vmware'. Use devops.driver.libvirt"
    with pytest.raises(TemplateError, match="`groups` is a list of mappings, not of 'x'"):
        check_settings({"env_name": "x", "groups": ["x"]})
    with pytest.raises(TemplateError) as error:
        check_settings({"env_name": "x"})
    assert str(error.value) == "`groups` is missing"


@pytest.mark.parametrize(
    ("change", "number", "message"),
    [
        ({}, 43, "Group 'default' is there twice"),
        ({"default": "second"}, 51, "l2_network_device 'admin' is there twice"),
        (
            {"default": "second", "  admin:\n": "  a:\n", "other": "b"},
            62,
            "Node 'master' is there twice",
        ),
    ],
)
def test_names_are_unique_in_the_environment(
    load: Any, change: dict[str, str], number: int, message: str
) -> None:
    group = SOUND[SOUND.index("  - name: default") :]
    for old, new in change.items():
        group = group.replace(old, new)
    with pytest.raises(TemplateError) as error:
        load(SOUND + group)
    assert f"template.yaml:{number}: {message}" in str(error.value)


@pytest.mark.parametrize("name", ["lab.yaml", "bond.yaml"])
def test_our_own_templates(name: str) -> None:
    assert load_template(TEMPLATES / name, {"ENV_NAME": "x"})["env_name"] == "x"
