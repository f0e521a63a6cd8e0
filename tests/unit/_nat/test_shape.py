# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: the options that make other rules than the thirteen, on one bridge and between several."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import (
    backend,
    compare,
    dialect,
    record,
    rules,
    shape,
    spec,
    tables,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.shape import Shape
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts
from hypothesis import given
from hypothesis import strategies as st

SAYS = ("recipe", "isolate", "allow")
SHAPES = st.builds(
    Shape,
    exempt_local=st.booleans(),
    inter_bridge=st.sampled_from(SAYS),
    out_interface=st.sampled_from([None, "eth0", "br9"]),
    snat_address=st.sampled_from([None, "203.0.113.7"]),
    snat_address6=st.sampled_from([None, "2001:db8::7"]),
    masquerade_ports=st.sampled_from(["1024-65535", "5000", "20000-29999"]),
    dns=st.booleans(),
    dhcp=st.booleans(),
    checksum_fill=st.booleans(),
)
BACKENDS = (backend.NFT, backend.LEGACY, dialect.NFTABLES)
#: A call: which bridge, what it says about others (None = it goes), and where its rules are.
CALLS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([*SAYS, None]), st.sampled_from(BACKENDS)),
    min_size=1,
    max_size=8,
)


def empty() -> Snapshot:
    return hosts.seen(
        {
            backend.NFT: {"filter": {"FORWARD": ["-j DOCKER-USER", "-j DROP"]}},
            backend.LEGACY: {},
            dialect.NFTABLES: {"filter": {"FORWARD": ["-j DOCKER-USER", "-j DROP"]}},
        },
        forwarding=False,
    )


def parse(**params: t.Any) -> NatSpec:
    return spec.parse({"bridge": "br0", "subnets": ["192.168.0.0/24"], **params})


def own(seen: Snapshot, bridge: str) -> set[str]:
    """Every rule that names the bridge or one of its addresses."""
    number = bridge[2:]
    return {
        f"{name} {table} {chain} {rule}"
        for name, found in seen.tables.items()
        for table, chains in found.items()
        for chain, lines in chains.items()
        for rule in lines
        if f"{bridge} " in rule or f"192.168.{number}.0/24" in rule
    }


def passes(seen: Snapshot, name: str, source: int, target: int) -> bool:
    """An own telling of what becomes of the first packet of a connection from guest to guest; the policy is DROP."""
    ways = {"-i": f"br{source}", "-o": f"br{target}", "-s": f"192.168.{source}.0/24", "-d": f"192.168.{target}.0/24"}
    for rule in tables.get(seen.tables[name], "filter", "FORWARD"):
        words = rule.split()
        pairs = dict(zip(words, words[1:]))
        if pairs["-j"].startswith("DOCKER") or "--state" in pairs:
            continue
        if all(pairs.get(option, value) == value for option, value in ways.items()):
            return pairs["-j"] == "ACCEPT"
    return False


@given(SHAPES)
def test_a_shape_survives_its_record(one: Shape) -> None:
    assert shape.read(shape.text(one)) == one
    found = rules.render("br0", ["192.168.0.0/24"], one)
    known = record.Record("br0", backend.NFT, "none", ("192.168.0.0/24",), found, shape=one)
    again = record.parse(record.text(known))
    assert record.text(again) == record.text(known)
    assert again.shape == one


def test_the_defaults_are_the_thirteen_and_say_nothing_in_the_record() -> None:
    assert parse().shape == Shape()
    assert shape.text(Shape()) == ""
    plain = rules.render("br0", ["192.168.0.0/24"])
    assert sum(len(lines) for chains in plain.values() for lines in chains.values()) == 13


@pytest.mark.parametrize("line", ['{"later": true}', "[1]", "nonsense"])
def test_options_of_a_later_version_are_not_guessed(line: str) -> None:
    with pytest.raises(ValueError, match=r"does not know|Expecting"):
        shape.read(line)


@given(SHAPES, SHAPES)
def test_another_shape_leaves_nothing_of_the_one_before(first: Shape, second: Shape) -> None:
    one, two = (dataclasses.replace(parse(), shape=some) for some in (first, second))
    before = compare.compare(one, empty()).plan.result
    changed = compare.compare(two, before).plan.result
    fresh = compare.compare(two, empty()).plan.result
    assert changed.tables[backend.NFT] == fresh.tables[backend.NFT]
    assert changed.files == fresh.files
    assert not compare.compare(two, changed)
    gone = compare.compare(NatSpec("br0", "absent"), changed).plan.result
    assert own(gone, "br0") == set()
    assert gone.records == {}


def test_each_option_makes_its_rules() -> None:
    found = rules.render(
        "br0",
        ["192.168.0.0/24"],
        Shape(exempt_local=True, out_interface="eth0", snat_address="203.0.113.7", masquerade_ports="5000-6000"),
    )
    outward = "-s 192.168.0.0/24 ! -d 192.168.0.0/24 -o eth0"
    assert found["nat"]["POSTROUTING"] == [
        "-s 192.168.0.0/24 -d 224.0.0.0/24 -j RETURN",
        "-s 192.168.0.0/24 -d 255.255.255.255/32 -j RETURN",
        f"{outward} -p tcp -j SNAT --to-source 203.0.113.7:5000-6000",
        f"{outward} -p udp -j SNAT --to-source 203.0.113.7:5000-6000",
        f"{outward} -j SNAT --to-source 203.0.113.7",
    ]
    assert "-s 192.168.0.0/24 -i br0 -o eth0 -j ACCEPT" in found["filter"]["FORWARD"]
    without = rules.render("br0", ["192.168.0.0/24"], Shape(dns=False, dhcp=False, checksum_fill=False))
    assert (without["filter"]["INPUT"], without["mangle"]["POSTROUTING"]) == ([], [])
    assert [
        rule for rule in rules.render("br0", ["1.0.0.0/8"], Shape(dns=False))["filter"]["INPUT"] if "53" in rule
    ] == []


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"out_interface": "eth+"}, "no name of a device"),
        ({"out_interface": "-j"}, "no name of a device"),
        ({"out_interface": ""}, "no name of a device"),
        ({"out_interface": "br0"}, "the bridge itself"),
        ({"snat_address": ["203.0.113.7/32"]}, "no IP address"),
        ({"snat_address": ["2001:db8::7%eth0"]}, "no IP address"),
        ({"snat_address": ["224.0.0.1"]}, "no address that a host"),
        ({"snat_address": ["0.0.0.1"]}, "no address that a host"),
        ({"snat_address": ["255.255.255.255"]}, "no address that a host"),
        ({"snat_address": ["fe80::1"]}, "no address that a host"),
        ({"snat_address": ["::ffff:203.0.113.7"]}, "no address that a host"),
        ({"snat_address": ["ff02::1"]}, "no address that a host"),
        ({"snat_address": ["192.168.0.9"]}, "192.168.0.9 is in subnet 192.168.0.0/24"),
        ({"snat_address": ["fd00::9"], "subnets": ["fd00::/64"]}, "fd00::9 is in subnet fd00::/64"),
        ({"snat_address": ["203.0.113.7", "203.0.113.8"]}, "203.0.113.7 and 203.0.113.8, which are both of IPv4"),
        ({"snat_address": ["2001:db8::7", "203.0.113.8", "2001:DB8::7"]}, "are both of IPv6"),
        ({"masquerade_ports": "0-10"}, "no range of ports"),
        ({"masquerade_ports": "10-5"}, "no range of ports"),
        ({"masquerade_ports": "1024-65536"}, "no range of ports"),
        ({"masquerade_ports": "1024:65535"}, "no range of ports"),
        ({"masquerade_ports": "x"}, "no range of ports"),
    ],
)
def test_wrong_options(params: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence) as caught:
        parse(**params)
    assert "nat of bridge br0" in str(caught.value)


def test_an_address_of_each_version_hides_the_guests_of_that_version_alone() -> None:
    subnets = ["192.168.0.0/24", "fd00::/64", "2001:db8:1::/64"]
    one = parse(subnets=subnets, snat_address=["2001:DB8:0::7", "203.0.113.7"], masquerade_ports="5000-6000").shape
    assert (one.snat_address, one.snat_address6) == ("203.0.113.7", "2001:db8::7")
    four, six = (rules.render("br0", subnets, one, version=version)["nat"]["POSTROUTING"] for version in (4, 6))
    assert [rule.partition(" -j ")[2] for rule in four] == [
        *["SNAT --to-source 203.0.113.7:5000-6000"] * 2,
        "SNAT --to-source 203.0.113.7",
    ]
    assert [rule.partition(" -j ")[2] for rule in six] == [
        *["SNAT --to-source [2001:db8::7]:5000-6000"] * 2,
        "SNAT --to-source 2001:db8::7",
    ]
    assert all("-s fd00::/64 ! -d fd00::/64" in rule for rule in six)
    only = parse(subnets=subnets, snat_address=["2001:db8::7"]).shape
    assert "SNAT" not in str(rules.render("br0", subnets, only))
    assert "SNAT" in str(rules.render("br0", subnets, only, version=6))
    # A record of before says it like this, and says it still.
    line = '{"snat_address": "203.0.113.7"}'
    assert shape.read(line) == parse(snat_address=["203.0.113.7"]).shape
    assert shape.text(shape.read(line)) == line


def test_a_range_of_one_port_is_written_as_one() -> None:
    assert parse(masquerade_ports="5000-5000").shape.masquerade_ports == "5000"


@given(CALLS)
def test_bridges_keep_to_what_they_say_in_whatever_order_they_came(calls: list[tuple[int, str | None, str]]) -> None:
    seen = empty()
    said: dict[int, str] = {}
    where: dict[int, str] = {}
    for number, says, name in calls:
        one = spec.parse(
            {"bridge": f"br{number}", "subnets": [f"192.168.{number}.0/24"], "inter_bridge": says, "backend": name}
        )
        one = one if says else NatSpec(one.bridge, "absent")
        said.pop(number, None)
        if says:
            said[number], where[number] = says, name
        seen = compare.compare(one, seen).plan.result
        assert not compare.compare(one, seen)
    for source in range(4):
        if source not in said:
            assert own(seen, f"br{source}") == set()
        for target in (other for other in said if source in said and other != source):
            both = (said[source], said[target])
            if where[source] != where[target]:
                continue
            way = passes(seen, where[source], source, target)
            back = passes(seen, where[source], target, source)
            assert (way, back) in {
                "isolate": [(False, False)],
                "allow": [(True, True)],
                "recipe": [(True, False), (False, True)],
            }["isolate" if "isolate" in both else "allow" if both == ("allow", "allow") else "recipe"]
    for known in seen.records.values():
        assert record.parse(seen.files[record.path(known.bridge)]).rules["filter"] == {
            chain: lines for chain, lines in known.rules["filter"].items() if lines
        }


def test_the_way_out_is_not_refused_where_it_is_another_bridge() -> None:
    found = rules.render(
        "br0",
        ["192.168.0.0/24"],
        Shape(inter_bridge="isolate", out_interface="br1"),
        [rules.Neighbour("br1", "isolate")],
    )
    assert "-i br0 -o br1" not in found["filter"]["FORWARD"][0]
