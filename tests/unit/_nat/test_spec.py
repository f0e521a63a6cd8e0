# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: parameters to specifications."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import spec


def test_defaults() -> None:
    assert spec.parse({"bridge": "br0", "subnets": ["192.168.0.0/24"]}) == spec.NatSpec(
        "br0", "present", ("192.168.0.0/24",), "auto", "enable", "auto"
    )


def test_host_bits_and_netmasks_become_the_plain_network() -> None:
    parsed = spec.parse({"bridge": "br0", "subnets": ["192.168.0.5/24", " 10.1.2.3/255.255.0.0"]})
    assert parsed.subnets == ("192.168.0.0/24", "10.1.0.0/16")


@pytest.mark.parametrize("bridge", ["br0", "br-lan", "virbr0", "_x", "a" * 15, "0", "br0.100"])
def test_names_of_devices(bridge: str) -> None:
    assert spec.parse({"bridge": bridge, "state": "absent"}).bridge == bridge


@pytest.mark.parametrize(
    "bridge", ["a" * 16, "br+", "+", "!br0", "-j", ".", "..", ".br", "br 0", "br/0", "br0\n", "brü"]
)
def test_what_is_no_name_or_a_pattern(bridge: str) -> None:
    with pytest.raises(InvalidSpec, match="no name for a bridge"):
        spec.parse({"bridge": bridge, "subnets": ["192.168.0.0/24"]})


@pytest.mark.parametrize(
    ("subnets", "sentence"),
    [
        ([], "needs subnets"),
        (["fd00::"], "has no prefix; write it like fd00:1::/64"),
        (["fd00::/129"], "no IPv6 network"),
        (["fd00::1::/64"], "no IPv6 network"),
        (["::/0"], "every address"),
        (["fe80::/64"], "no network that guests can have"),
        (["ff02::/16"], "no network that guests can have"),
        (["::1/128"], "no network that guests can have"),
        (["::/96"], "no network that guests can have"),
        (["fd00:1::/64", "FD00:1:0:0::5/64"], r"FD00:1:0:0::5/64 \(that is fd00:1::/64\) is there twice"),
        (["fd00::/16", "fd00:3::/64"], "fd00::/16 and fd00:3::/64 overlap"),
        (["192.168.0.0"], "has no prefix"),
        (["192.168.0.0/33"], "no IPv4 network"),
        (["192.168.0/24"], "no IPv4 network"),
        (["0.0.0.0/0"], "every address"),
        (["10.0.0.1/0"], "every address"),
        (["224.0.0.0/24"], "no network that guests can have"),
        (["127.0.0.0/8"], "no network that guests can have"),
        (["192.168.0.0/24", "192.168.0.7/24"], r"192.168.0.7/24 \(that is 192.168.0.0/24\) is there twice"),
        (["192.168.0.0/16", "192.168.3.0/24"], "192.168.0.0/16 and 192.168.3.0/24 overlap"),
        (["-j ACCEPT/24"], "no IPv4 network"),
    ],
)
def test_wrong_subnets(subnets: list[str], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence) as caught:
        spec.parse({"bridge": "br0", "subnets": subnets})
    assert "br0" in str(caught.value)


def test_bridges_of_one_call_share_no_addresses() -> None:
    first, second = (spec.parse({"bridge": f"br{n}", "subnets": [f"10.0.{n}.0/16"]}) for n in (0, 1))
    with pytest.raises(InvalidSpec, match=r"bridges br0 and br1: 10.0.0.0/16 and 10.0.0.0/16 overlap"):
        spec.check_together([first, second])
    gone = spec.parse({"bridge": "br0", "subnets": ["10.0.0.0/16"], "state": "absent"})
    spec.check_together([gone, second])
