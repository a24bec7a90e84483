"""Network filters, taken apart and put together again."""

from __future__ import annotations

import pytest

from devops_snapshot.errors import UnsupportedError
from devops_snapshot.manifest.document import NwFilter
from devops_snapshot.manifest.nwfilters import build_nwfilter, parse_nwfilter

UUID = "<uuid>11111111-2222-3333-4444-555555555555</uuid>"
DROP = "<rule action='drop' direction='inout' priority='-950'><all/></rule>"
CARD = "<filterref filter='env_net'/>"


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize(("name", "includes"), [("env_net", None), ("env_net_64:0a", "env_net")])
def test_what_is_built_is_what_was_read(name: str, includes: str | None, blocked: bool) -> None:
    nwfilter = NwFilter(name=name, includes=includes, blocked=blocked)
    xml = build_nwfilter(nwfilter)
    assert parse_nwfilter(xml) == nwfilter
    assert ("priority" in xml) == blocked


def test_priorities_are_those_of_fuel_devops() -> None:
    network = NwFilter(name="n", includes=None, blocked=True)
    assert 'priority="-1000"' in build_nwfilter(network)
    assert 'priority="-950"' in build_nwfilter(network.model_copy(update={"includes": "m"}))


@pytest.mark.parametrize(
    "inside",
    [
        DROP + DROP,
        DROP.replace("drop", "accept"),
        DROP.replace("inout", "in"),
        DROP.replace("<all/>", "<all srcipaddr='10.0.0.1'/>"),
        DROP.replace("<all/>", "<tcp dstportstart='22'/>"),
        DROP.replace("<all/>", ""),
        CARD + CARD,
        CARD.replace("/>", "><parameter name='IP' value='10.0.0.1'/></filterref>"),
        "<something/>",
    ],
)
def test_rules_of_somebodys_own_are_refused(inside: str) -> None:
    assert parse_nwfilter(f"<filter name='f' chain='root'>{UUID}{CARD}{DROP}</filter>").blocked
    with pytest.raises(UnsupportedError, match="network filter 'f' has rules of its own"):
        parse_nwfilter(f"<filter name='f'>{UUID}{inside}</filter>")
