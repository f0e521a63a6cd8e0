# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks: what is accepted, and the sentences for what is not."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import (
    Bridge,
    DhcpHost,
    Forward,
    Ip,
    check_together,
    parse,
)
from ansible_collections.hypervisor.kvm.tests.unit._net.networks import NETWORKS
from hypothesis import given
from hypothesis import strategies as st


@given(NETWORKS)
def test_what_is_stated_is_kept_and_nothing_else(params: dict[str, t.Any]) -> None:
    spec = parse(params)
    assert (spec.name, spec.state, spec.restart) == (params["name"], params.get("state", "active"), "never")
    for field in ("autostart", "mac", "mtu", "forward", "bridge", "domain", "ips"):
        assert (getattr(spec, field) is None) is (params.get(field) is None), field
    assert spec.dns_enable is params.get("dns", {}).get("enable")


@given(st.dictionaries(st.sampled_from(["mac", "domain"]), st.none()))
def test_none_is_not_stated(params: dict[str, t.Any]) -> None:
    assert parse({"name": "lan", **params}) == parse({"name": "lan"})


def test_a_whole_network() -> None:
    spec = parse(
        {
            "name": "lan",
            "forward": {"mode": "route", "dev": "eth1"},
            "bridge": {"name": "br-lan", "stp": False, "delay": 3},
            "mac": "52:54:00:AA:BB:CC",
            "ips": [
                {
                    "address": "192.0.2.1",
                    "prefix": 24,
                    "dhcp": {
                        "ranges": [{"start": "192.0.2.9", "end": "192.0.2.20"}],
                        "hosts": [{"ip": "192.0.2.5", "mac": "52:54:00:00:00:0A"}],
                    },
                },
                {"address": "2001:db8::1/64"},
            ],
        }
    )
    assert spec.forward == Forward("route", "eth1")
    assert spec.bridge == Bridge("br-lan", False, 3)
    assert spec.mac == "52:54:00:aa:bb:cc"
    assert spec.ips == (
        Ip("192.0.2.1/24", (("192.0.2.9", "192.0.2.20"),), (DhcpHost("192.0.2.5", "52:54:00:00:00:0a"),)),
        Ip("2001:db8::1/64"),
    )


def _dhcp(**dhcp: t.Any) -> dict[str, t.Any]:
    return {"ips": [{"address": "192.0.2.1/24", "dhcp": dhcp}]}


WRONG: list[tuple[dict[str, t.Any], str]] = [
    ({"name": "a/b"}, "no slashes"),
    ({"name": ".."}, "no slashes"),
    ({"name": "a\nb"}, "no control characters"),
    ({"bridge": {"name": "bridge-with-long-name"}}, "up to 15 letters"),
    ({"bridge": {"name": "br 0"}}, "no name for a device"),
    ({"bridge": {"delay": 33}}, "0 to 32"),
    ({"mac": "52:54:00"}, "no MAC address"),
    ({"mac": "53:54:00:00:00:01"}, "multicast"),
    ({"mtu": 67}, "68 to 65535"),
    ({"mtu": 65536}, "68 to 65535"),
    ({"domain": {"local_only": True}}, "domain needs a name"),
    ({"ips": [{"address": "192.0.2.1"}]}, "needs a prefix"),
    ({"ips": [{"address": "192.0.2.1/24", "prefix": 24}]}, "has a prefix already"),
    ({"ips": [{"address": "192.0.2.256", "prefix": 24}]}, "is no address"),
    ({"ips": [{"address": "192.0.2.1", "prefix": 33}]}, "is no address"),
    ({"ips": [{}]}, "needs a prefix"),
    ({"ips": [{"address": "192.0.2.1/24"}, {"address": "192.0.2.129/25"}]}, "overlap"),
    (_dhcp(ranges=[{"start": "192.0.3.1", "end": "192.0.3.2"}]), "is outside of"),
    (_dhcp(ranges=[{"start": "192.0.2.9", "end": "192.0.2.2"}]), "ends before it starts"),
    (_dhcp(ranges=[{"start": "192.0.2.9"}]), "is no address"),
    (_dhcp(hosts=[{"ip": "192.0.2.9"}]), "neither a mac nor a name"),
    (_dhcp(hosts=[{"mac": "52:54:00:00:00:01"}]), "is no address"),
    (_dhcp(hosts=[{"ip": "192.0.2.9", "name": "a"}, {"ip": "192.0.2.9", "name": "b"}]), "two DHCP reservations"),
    ({"forward": {"mode": "bridge"}}, "needs bridge.name"),
    ({"forward": {"mode": "bridge"}, "bridge": {"name": "br0"}, "mac": "52:54:00:00:00:01"}, "it has no ips, mac"),
    ({"forward": {"mode": "open", "dev": "eth0"}}, "goes with mode nat or route"),
]


@pytest.mark.parametrize(("params", "message"), WRONG)
def test_wrong_values_are_refused_in_a_sentence_that_names_the_network(params: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        parse({"name": "lan", **params})
    assert message in error.value.message
    assert params.get("name", "lan") in error.value.message
    assert error.value.message.endswith((".", "please."))


def test_two_networks_of_one_call() -> None:
    first = parse({"name": "a", "bridge": {"name": "br0"}, "ips": [{"address": "10.0.0.1/16"}]})
    check_together([first, parse({"name": "b", "ips": [{"address": "10.1.0.1/16"}]})])
    with pytest.raises(InvalidSpec, match="both name the bridge br0"):
        check_together([first, parse({"name": "b", "bridge": {"name": "br0"}})])
    with pytest.raises(InvalidSpec, match="overlap"):
        check_together([first, parse({"name": "b", "ips": [{"address": "10.0.9.1/24"}]})])
    check_together([first, parse({"name": "b", "state": "absent", "bridge": {"name": "br0"}})])
