"""``dos.py slave-ip-list``"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ....errors import DevopsError, NotFoundError
from ...models import Environment


class Command(DevopsCommand):
    help = "Show the addresses of the nodes of an environment, by address pool"
    examples = [
        "dos.py slave-ip-list my_env",
        "dos.py slave-ip-list my_env --address-pool-name public-pool01 --ip-only",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        parser.add_argument("--address-pool-name", "-A", help="only the addresses of this pool")
        parser.add_argument("--ip-only", action="store_true", help="print just the addresses")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.get(name=options["name"])
        addresses = _addresses(environment, options["address_pool_name"], options["ip_only"])
        if not addresses:
            raise DevopsError(f"No IPs were allocated for environment {environment.name!r}")
        for pool, words in sorted(addresses.items()):
            prefix = "" if options["address_pool_name"] else f"{pool}: "
            self.stdout.write(prefix + " ".join(words))


def _addresses(
    environment: Environment, pool_name: str | None, ip_only: bool
) -> dict[str, list[str]]:
    """By address pool: ``node,address`` or ``address`` of each node's first interface in it."""
    devices = environment.get_env_l2_network_devices(address_pool__isnull=False)
    if pool_name:
        devices = devices.filter(address_pool__name=pool_name)
    words: dict[str, list[str]] = defaultdict(list)
    for device in devices:
        for node in environment.get_nodes():
            try:
                address = node.get_ip_address_by_network_name(device.name)
            except NotFoundError:  # not plugged in there
                continue
            words[str(device.address_pool)].append(address if ip_only else f"{node.name},{address}")
    return words
