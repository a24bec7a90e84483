"""Names in libvirt are those of fuel-devops 3.0.5, long ones included."""

from __future__ import annotations

import hashlib

from devops_snapshot.devops.libvirt.names import domain_name, network_name, volume_name


def test_names_join_environment_and_object() -> None:
    assert domain_name("fuel_system_test", "slave-01") == "fuel_system_test_slave-01"
    assert network_name("fuel_system_test", "admin") == "fuel_system_test_admin"
    assert volume_name("env", "admin", "system") == "env_admin_system"


def test_a_name_of_80_characters_stays() -> None:
    assert domain_name("e" * 40, "n" * 39) == "e" * 40 + "_" + "n" * 39


def test_a_longer_name_is_the_md5_of_the_whole_and_its_beginning() -> None:
    whole = "e" * 40 + "_" + "n" * 40
    name = domain_name("e" * 40, "n" * 40)
    assert name == hashlib.md5(whole.encode()).hexdigest() + "e" * 40 + "_" + "n" * 7
    assert len(name) == 80


def test_long_names_with_the_same_beginning_stay_apart() -> None:
    assert volume_name("e" * 90, "n", "a") != volume_name("e" * 90, "n", "b")


def test_what_counts_are_characters_not_bytes() -> None:
    assert domain_name("ü" * 40, "n" * 39) == "ü" * 40 + "_" + "n" * 39


def test_an_empty_part_leaves_no_underscore() -> None:
    assert domain_name("", "node") == "node"
