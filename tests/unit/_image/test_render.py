# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: the texts that are put into a guest."""

from __future__ import annotations

import ipaddress

from ansible_collections.hypervisor.kvm.plugins.module_utils._image import render, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Host, Interface, Route
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import common, ifupdown
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = """# Written by hypervisor.kvm.kvm_image
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    pre-up ip link set dev $IFACE mtu 1400
    dns-nameservers 192.0.2.1 2001:db8::53
    dns-search lan.example
    address 192.0.2.10/24
    gateway 192.0.2.1
iface eth0 inet static
    address 192.0.2.11/24
    up ip -4 route replace 198.51.100.0/24 via 192.0.2.254 dev eth0 metric 5
iface eth0 inet6 static
    address 2001:db8::10/64
    gateway 2001:db8::1

auto net1
iface net1 inet dhcp
iface net1 inet6 dhcp

auto eth2
iface eth2 inet manual
    up ip link set dev $IFACE up
"""


def test_golden() -> None:
    items = (
        Interface(
            "eth0",
            addresses=("192.0.2.10/24", "2001:db8::10/64", "192.0.2.11/24"),
            gateway4="192.0.2.1",
            gateway6="2001:db8::1",
            nameservers=("192.0.2.1", "2001:db8::53"),
            search=("lan.example",),
            routes=(Route("198.51.100.0/24", "192.0.2.254", 5),),
            mtu=1400,
        ),
        Interface("net1", mac="52:54:00:00:00:01", dhcp4=True, dhcp6=True),
        Interface("eth2"),
    )
    assert ifupdown.interfaces(items) == GOLDEN
    assert list(common.links(items)) == ["/etc/systemd/network/10-kvm-net1.link"]
    assert "MACAddress=52:54:00:00:00:01\n" in common.links(items)["/etc/systemd/network/10-kvm-net1.link"]
    assert ifupdown.resolv_conf(items).splitlines()[1:] == [
        "search lan.example",
        "nameserver 192.0.2.1",
        "nameserver 2001:db8::53",
    ]


WORDS = ("address", "gateway", "up", "pre-up", "dns-nameservers", "dns-search")
ADDRESSES = st.one_of(
    st.integers(1, 250).map(lambda n: f"192.0.2.{n}/24"), st.integers(1, 999).map(lambda n: f"2001:db8::{n}/64")
)
ROUTES = st.one_of(
    st.just(Route("198.51.100.0/24", "192.0.2.254")),
    st.just(Route("default", "2001:db8::1", 9)),
    st.just(Route("2001:db8:1::/48", "2001:db8::1")),
)


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    dhcp4, dhcp6 = draw(st.booleans()), draw(st.booleans())
    found = draw(st.lists(ADDRESSES, unique=True, max_size=4))
    own = tuple(text for text in found if not (dhcp6 if ":" in text else dhcp4))
    return Interface(
        name=f"eth{draw(st.integers(0, 9))}",
        dhcp4=dhcp4,
        dhcp6=dhcp6,
        addresses=own,
        gateway4="192.0.2.1" if any(":" not in text for text in own) else None,
        mtu=draw(st.one_of(st.none(), st.integers(68, 9000))),
        routes=tuple(draw(st.lists(ROUTES, unique=True, max_size=2))),
    )


@given(interfaces())
def test_nothing_is_lost_and_nothing_is_unknown(item: Interface) -> None:
    lines = ifupdown.interfaces((item,)).split(f"auto {item.name}\n")[1].splitlines()
    options = [line.strip().split(maxsplit=1) for line in lines if line.startswith("    ")]
    heads = [line.split() for line in lines if not line.startswith(" ")]
    assert {word for word, _value in options} <= set(WORDS)
    assert sorted(value for word, value in options if word == "address") == sorted(item.addresses)
    assert [value for word, value in options if word == "gateway"] == ([item.gateway4] if item.gateway4 else [])
    assert sum("route replace" in value for _word, value in options) == len(item.routes)
    assert sum("mtu" in value for _word, value in options) == (item.mtu is not None)
    assert all(head[:2] == ["iface", item.name] and len(head) == 4 for head in heads)
    assert (["iface", item.name, "inet", "dhcp"] in heads) == item.dhcp4
    assert (["iface", item.name, "inet6", "dhcp"] in heads) == item.dhcp6


@given(interfaces())
def test_an_address_stands_in_a_stanza_of_its_family(item: Interface) -> None:
    family = ""
    for line in ifupdown.interfaces((item,)).splitlines():
        words = line.split()
        if words[:1] == ["iface"]:
            family = words[2]
        elif words[:1] == ["address"]:
            assert (ipaddress.ip_interface(words[1]).version == 6) == (family == "inet6")
        elif words[:2] == ["up", "ip"] and "route" in words:
            assert (words[2] == "-6") == (family == "inet6")


def test_hosts_keeps_what_is_there() -> None:
    before = "127.0.0.1 localhost\n127.0.1.1 old old.example\n192.0.2.7 other # 127.0.1.1\n"
    after = "127.0.0.1 localhost\n127.0.1.1\tnew.example new\n192.0.2.7 other # 127.0.1.1\n"
    assert render.hosts(before, "new.example") == after
    assert render.hosts(after, "new.example") == after
    assert render.hosts(None, "plain").splitlines()[:2] == ["127.0.0.1\tlocalhost", "127.0.1.1\tplain"]


def test_shadow_changes_one_field_of_one_user() -> None:
    before = "daemon:*:1:0:99999:7:::\nroot:*:19000:0:99999:7:::\n"
    assert render.shadow(before, "root", "$6$s$h") == "daemon:*:1:0:99999:7:::\nroot:$6$s$h:19000:0:99999:7:::\n"
    assert render.shadow(before, "nobody", "x") is None


def test_fstab_of_a_new_system_names_the_root_by_label() -> None:
    found = spec.parse({"path": "/srv/a", "source": {"bootstrap": {}}, "filesystem": {"label": "sys"}})
    assert render.texts(found)[render.FSTAB].splitlines()[1] == "LABEL=sys\t/\text4\tdefaults,errors=remount-ro\t0 1"


def test_a_disk_from_a_base_keeps_its_fstab() -> None:
    found = spec.parse({"path": "/srv/a", "source": {"image": {"path": "/srv/b"}}})
    assert render.texts(found) == {}


HOSTS = st.builds(
    Host,
    st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    st.lists(st.sampled_from(["a", "b.example", "b"]), min_size=1, max_size=2, unique=True).map(tuple),
)
LINES = st.lists(
    st.one_of(HOSTS.map(lambda host: f"{host.address} {' '.join(host.names)}"), st.sampled_from(["", "# x", "  "]))
)


@given(LINES, st.lists(HOSTS, max_size=3, unique_by=lambda host: host.address), st.lists(HOSTS, max_size=2))
def test_hosts_have_the_stated_lines_and_settle(lines: list[str], wanted: list[Host], former: list[Host]) -> None:
    former = [host for host in former if host not in wanted]
    before = "".join(f"{line}\n" for line in lines)
    after = render.host_entries(before, wanted, former)
    assert render.host_entries(after, wanted, former) == after
    found = [
        Host(words[0], tuple(words[1:])) for words in map(str.split, after.splitlines()) if words and words[0] != "#"
    ]
    assert all(found.count(host) >= 1 for host in wanted)
    assert not set(former) & set(found)
    for host in found:
        others = {
            name
            for other in wanted
            if other != host and (":" in other.address) == (":" in host.address)
            for name in other.names
        }
        assert host in wanted or not others & set(host.names)
