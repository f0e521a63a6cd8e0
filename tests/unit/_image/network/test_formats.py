# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, network: what is written for each network system, read with that system's own programs where they are there."""

from __future__ import annotations

import configparser
import ipaddress
import pathlib
import shutil
import subprocess
import typing as t

import pytest
import yaml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import interfaces
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Interface
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import (
    common,
    ifcfg,
    ifupdown,
    netplan,
    networkd,
    networkmanager,
)

ENTRIES: list[dict[str, t.Any]] = [
    {"name": "eth0.20", "id": 20, "link": "eth0", "dhcp4": True},
    {
        "name": "eth0",
        "addresses": ["192.0.2.10/24", "2001:db8::10/64", "192.0.2.11/24"],
        "gateway4": "192.0.2.1",
        "gateway6": "fe80::1",
        "nameservers": ["192.0.2.1", "2001:db8::53"],
        "search": ["lan.example", "example"],
        "routes": [
            {"to": "203.0.113.0/24", "via": "192.0.2.254", "metric": 5},
            {"to": "default", "via": "192.0.2.253", "metric": 500},
            {"to": "2001:db8:1::/48", "via": "2001:db8::2"},
        ],
        "mtu": 1400,
    },
    {"mac": "52:54:00:00:00:01", "dhcp4": True, "dhcp6": True},
    {"name": "eth2"},
    {"name": "eth3"},
    {"name": "eth4", "mtu": 9000},
    {
        "name": "bond0",
        "interfaces": ["eth3", "eth4"],
        "parameters": {"mode": "active-backup", "primary": "eth4", "mii_monitor_interval": 250},
        "dhcp6": True,
    },
    {"name": "vlan7", "id": 7, "link": "bond0", "addresses": ["198.51.100.2/24"], "mtu": 1400},
]
ITEMS = interfaces.parse("/srv/a", ENTRIES) or ()
LACP = {"mode": "802.3ad", "lacp_rate": "fast", "transmit_hash_policy": "layer3+4"}

Sections = list[tuple[str, list[tuple[str, str]]]]


def program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (package {package}): nothing else can judge this")
    return found


def sections(text: str) -> Sections:
    """An INI file with sections and keys that may come more than once."""
    found: Sections = []
    for line in text.splitlines():
        if line.startswith("["):
            found.append((line.strip("[]"), []))
        elif line and not line.startswith("#"):
            key, _sign, value = line.partition("=")
            found[-1][1].append((key, value))
    return found


def generated(tmp_path: pathlib.Path, items: t.Sequence[Interface], networkmanager_renders: bool) -> dict[str, str]:
    """What netplan makes of our file: path below /run to text."""
    argv = [program("netplan", "netplan.io"), "generate", "--root-dir", str(tmp_path)]
    for path, text in netplan.texts(items, networkmanager_renders).items():
        target = tmp_path / path[1:]
        target.parent.mkdir(parents=True)
        target.write_text(text)
        target.chmod(0o600)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(tmp_path / "run")): path.read_text() for path in files}


def test_netplan_is_the_declaration_in_yaml() -> None:
    found = yaml.safe_load(netplan.texts(ITEMS, False)[netplan.PATH])["network"]
    assert (found["version"], "renderer" in found) == (2, False)
    assert list(found["ethernets"]) == ["eth0", "net2", "eth2", "eth3", "eth4"]
    eth0 = found["ethernets"]["eth0"]
    assert eth0["addresses"] == ENTRIES[1]["addresses"]
    assert eth0["routes"][:2] == [{"to": "0.0.0.0/0", "via": "192.0.2.1"}, {"to": "::/0", "via": "fe80::1"}]
    assert eth0["routes"][3] == {"to": "0.0.0.0/0", "via": "192.0.2.253", "metric": 500}
    assert eth0["nameservers"] == {"addresses": ENTRIES[1]["nameservers"], "search": ENTRIES[1]["search"]}
    assert found["ethernets"]["net2"]["match"] == {"macaddress": "52:54:00:00:00:01"}
    assert found["ethernets"]["net2"]["set-name"] == "net2"
    assert found["bonds"]["bond0"]["interfaces"] == ["eth3", "eth4"]
    assert found["vlans"]["vlan7"]["link"] == "bond0"
    assert yaml.safe_load(netplan.texts((), True)[netplan.PATH]) == {
        "network": {"version": 2, "renderer": "NetworkManager"}
    }


@pytest.mark.parametrize("name", ["on", "no", "null", "1e3", "0x10", "12", "a-b.c_d"])
def test_a_name_stays_a_name_in_yaml(name: str) -> None:
    found = yaml.safe_load(netplan.texts((Interface(name, dhcp4=True),), False)[netplan.PATH])
    assert list(found["network"]["ethernets"]) == [name]


def _comparable(text: str) -> Sections:
    """networkd's file without what netplan adds of its own, in one way of writing."""
    drop = {"RouteMetric", "UseMTU", "ConfigureWithoutCarrier", "PermanentMACAddress"}
    found = []
    for name, pairs in sections(text):
        kept = [(key, "yes" if value == "true" else value) for key, value in pairs if key not in drop]
        kept = [pair for pair in kept if pair not in (("LinkLocalAddressing", "ipv6"), ("DHCP", "no"))]
        kept = [pair for pair in kept if pair not in (("Destination", "0.0.0.0/0"), ("Destination", "::/0"))]
        if kept:
            found.append((name, sorted(kept)))
    return sorted(found)


@pytest.mark.parametrize("parameters", [ENTRIES[6]["parameters"], LACP])
def test_networkd_gets_what_netplan_would_give_it(tmp_path: pathlib.Path, parameters: dict[str, t.Any]) -> None:
    items = interfaces.parse("/srv/a", [*ENTRIES[:6], {**ENTRIES[6], "parameters": parameters}, ENTRIES[7]]) or ()
    theirs = generated(tmp_path, items, False)
    ours = {path: text for path, text in networkd.texts(items).items() if not path.endswith(".link")}
    assert len(ours) == 8 + 3
    for path, text in ours.items():
        other = theirs[f"systemd/network/{pathlib.Path(path).name.replace('10-kvm-', '10-netplan-')}"]
        wanted = [entry for entry in _comparable(other) if entry != ("NetDev", [("MTUBytes", "1400")])]
        mine = _comparable(text)
        # netplan repeats the MTU of a vlan where it is made.
        wanted = [
            (name, [pair for pair in pairs if name != "NetDev" or pair[0] != "MTUBytes"]) for name, pairs in wanted
        ]
        assert mine == wanted, path


def test_netplan_takes_it_for_networkmanager_too(tmp_path: pathlib.Path) -> None:
    found = generated(tmp_path, ITEMS, True)
    assert sum(path.startswith("NetworkManager/system-connections/") for path in found) == len(ITEMS)


def keyfiles(items: t.Sequence[Interface]) -> dict[str, configparser.ConfigParser]:
    found = {}
    for path, text in networkmanager.texts(items).items():
        if path.startswith(networkmanager.FOLDER):
            parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
            parser.read_string(text)
            found[pathlib.Path(path).stem] = parser
    return found


def test_keyfiles() -> None:
    found = keyfiles(ITEMS)
    assert dict(found["kvm-eth0"]["ipv4"]) == {
        "method": "manual",
        "address1": "192.0.2.10/24",
        "address2": "192.0.2.11/24",
        "gateway": "192.0.2.1",
        "dns": "192.0.2.1;",
        "dns-search": "lan.example;example;",
        "route1": "203.0.113.0/24,192.0.2.254,5",
        "route2": "0.0.0.0/0,192.0.2.253,500",
    }
    assert found["kvm-eth0"]["connection"]["interface-name"] == "eth0"
    assert "interface-name" not in found["kvm-net2"]["connection"]
    assert found["kvm-net2"]["ethernet"]["mac-address"] == "52:54:00:00:00:01"
    assert found["kvm-eth4"]["connection"]["master"] == "bond0"
    assert "ipv4" not in found["kvm-eth4"]
    assert found["kvm-vlan7"]["vlan"]["parent"] == found["kvm-bond0"]["connection"]["uuid"]
    assert len({parser["connection"]["uuid"] for parser in found.values()}) == len(ITEMS)


def test_nmcli_reads_the_keyfiles() -> None:
    nmcli = program("nmcli", "network-manager")
    for path, text in networkmanager.texts(ITEMS).items():
        if path.startswith(networkmanager.FOLDER):
            argv = [nmcli, "--offline", "connection", "modify", "connection.lldp", "default"]
            done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), path
            theirs, ours = dict(sections(done.stdout)), dict(sections(text))
            for name, pairs in ours.items():
                # It writes the gateway into the address, and nothing is lost or changed beside that.
                lost = {pair for pair in set(pairs) - set(theirs[name]) if pair[0] not in ("gateway", "address1")}
                assert lost == set(), path


def test_networkmanager_refuses_what_it_would_ignore() -> None:
    for entry in (
        Interface("eth0", addresses=("2001:db8::1/64",), nameservers=("192.0.2.1",)),
        Interface("eth0", addresses=("192.0.2.1/24",), gateway6="fe80::1"),
    ):
        with pytest.raises(InvalidSpec, match="neither an IPv"):
            networkmanager.texts((entry,))


def test_gateways_outside_of_all_subnets() -> None:
    item = Interface("eth0", dhcp6=True, addresses=("192.0.2.1/32",), gateway4="169.254.1.1", gateway6="fe80::1")
    assert (
        "[Route]\nGateway=169.254.1.1\nGatewayOnLink=yes\n"
        in networkd.texts((item,))["/etc/systemd/network/10-kvm-eth0.network"]
    )
    found = keyfiles((item,))["kvm-eth0"]
    assert (found["ipv4"]["route1"], found["ipv4"]["route1_options"]) == ("0.0.0.0/0,169.254.1.1", "onlink=true")
    assert found["ipv6"]["route1"] == "::/0,fe80::1"
    texts = ifcfg.texts((item,))
    assert texts[f"{ifcfg.FOLDER}/route-eth0"].splitlines()[1:] == ["0.0.0.0/0 via 169.254.1.1 dev eth0 onlink"]
    assert texts[f"{ifcfg.FOLDER}/route6-eth0"].splitlines()[1:] == ["::/0 via fe80::1 dev eth0"]
    assert "up ip -4 route replace default via 169.254.1.1 dev eth0 onlink" in ifupdown.interfaces((item,))


IFCFG = {
    "ifcfg-eth0": """DEVICE=eth0
NAME=kvm-eth0
TYPE=Ethernet
ONBOOT=yes
MTU=1400
BOOTPROTO=none
IPADDR=192.0.2.10
PREFIX=24
IPADDR1=192.0.2.11
PREFIX1=24
GATEWAY=192.0.2.1
IPV6INIT=yes
IPV6_AUTOCONF=no
IPV6ADDR=2001:db8::10/64
IPV6_DEFAULTGW=fe80::1%eth0
DNS1=192.0.2.1
DNS2=2001:db8::53
DOMAIN="lan.example example"
""",
    "route-eth0": "203.0.113.0/24 via 192.0.2.254 dev eth0 metric 5\n0.0.0.0/0 via 192.0.2.253 dev eth0 metric 500\n",
    "route6-eth0": "2001:db8:1::/48 via 2001:db8::2 dev eth0\n",
    "ifcfg-net2": """DEVICE=net2
NAME=kvm-net2
TYPE=Ethernet
ONBOOT=yes
HWADDR=52:54:00:00:00:01
BOOTPROTO=dhcp
IPV6INIT=yes
IPV6_AUTOCONF=yes
DHCPV6C=yes
""",
    "ifcfg-eth3": "DEVICE=eth3\nNAME=kvm-eth3\nTYPE=Ethernet\nONBOOT=yes\nMASTER=bond0\nSLAVE=yes\nBOOTPROTO=none\n",
    "ifcfg-vlan7": """DEVICE=vlan7
NAME=kvm-vlan7
TYPE=Vlan
ONBOOT=yes
MTU=1400
VLAN=yes
PHYSDEV=bond0
VLAN_ID=7
BOOTPROTO=none
IPADDR=198.51.100.2
PREFIX=24
""",
}


def test_ifcfg_as_documented() -> None:
    found = ifcfg.texts(ITEMS)
    for name, text in IFCFG.items():
        assert found[f"{ifcfg.FOLDER}/{name}"] == common.HEAD + text
    bond = found[f"{ifcfg.FOLDER}/ifcfg-bond0"]
    assert 'BONDING_MASTER=yes\nBONDING_OPTS="mode=active-backup miimon=250 primary=eth4"\n' in bond
    assert "Type=" not in found["/etc/systemd/network/10-kvm-net2.link"]


def test_ifcfg_is_read_by_a_shell() -> None:
    for path, text in ifcfg.texts(ITEMS).items():
        if pathlib.Path(path).name.startswith("ifcfg-"):
            done = subprocess.run(["/bin/sh", "-eu"], input=text, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_vlan_that_ifcfg_cannot_name() -> None:
    items = (Interface("eth0"), Interface("dmz", id=3, link="eth0"))
    with pytest.raises(InvalidSpec, match=r"call dmz eth0\.3 or vlan3"):
        ifcfg.texts(items)


def test_ifquery_reads_the_interfaces(tmp_path: pathlib.Path) -> None:
    ifquery = program("ifquery", "ifupdown")
    file = tmp_path / "interfaces"
    file.write_text(ifupdown.interfaces(ITEMS))
    argv = [ifquery, f"--interfaces={file}"]
    names = subprocess.run([*argv, "--list"], capture_output=True, text=True, check=True)
    assert names.stdout.split() == ["lo", *(item.name for item in common.ordered(ITEMS))]
    for item in ITEMS:
        done = subprocess.run([*argv, item.name], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        lines = [line.partition(": ")[::2] for line in done.stdout.splitlines()]
        plain = [value for key, value in lines if key == "address"]
        masks = [value for key, value in lines if key == "netmask"]
        found = {ipaddress.ip_interface(f"{address}/{mask}") for address, mask in zip(plain, masks)}
        assert len(plain) == len(masks)
        assert found == {ipaddress.ip_interface(text) for text in item.addresses}
        made = [value for key, value in lines if key == "pre-up" and "ip link add" in value]
        assert len(made) == (item.kind != "ethernet")


BOND = """auto bond0
iface bond0 inet6 dhcp
    pre-up ip link show dev $IFACE >/dev/null 2>&1 || ip link add name $IFACE type bond mode active-backup miimon 250
    pre-up ip link set dev eth3 down
    pre-up ip link set dev eth3 master $IFACE
    pre-up ip link set dev eth4 down
    pre-up ip link set dev eth4 master $IFACE
    pre-up ip link set dev $IFACE type bond primary eth4
    post-down ip link del dev $IFACE

auto eth0.20
iface eth0.20 inet dhcp
    pre-up ip link show dev $IFACE >/dev/null 2>&1 || ip link add link eth0 name $IFACE type vlan id 20
    post-down ip link del dev $IFACE
"""


def test_ifupdown_makes_vlans_and_bonds_after_what_they_stand_on() -> None:
    assert BOND in ifupdown.interfaces(ITEMS)
    assert "auto eth3\niface eth3 inet manual\n\n" in ifupdown.interfaces(ITEMS)


WRONG: list[tuple[list[dict[str, t.Any]], str]] = [
    ([{"name": "eth0"}, {"name": "v", "id": 5}], "needs both id and link"),
    ([{"name": "eth0"}, {"name": "v", "id": 4095, "link": "eth0"}], "4095 is impossible"),
    ([{"name": "eth0"}, {"name": "eth0.6", "id": 5, "link": "eth0"}], r"call it eth0\.5"),
    ([{"name": "v", "id": 5, "link": "eth0"}], "needs its link eth0 as an entry"),
    ([{"name": "v", "id": 5, "link": "v"}], "that is no vlan"),
    ([{"name": "eth0"}, {"name": "v", "id": 5, "link": "eth0", "mac": "52:54:00:00:00:01"}], "leave it out"),
    ([{"name": "b", "interfaces": []}], "at least one name"),
    ([{"name": "b", "interfaces": ["b"]}], "as an entry"),
    ([{"name": "b", "interfaces": ["eth0"]}], "as an entry"),
    ([{"name": "eth0"}, {"name": "b", "interfaces": ["eth0", "eth0"]}], "in no other bond"),
    ([{"name": "eth0", "dhcp4": True}, {"name": "b", "interfaces": ["eth0"]}], "neither addresses"),
    ([{"name": "eth0"}, {"name": "b", "interfaces": ["eth0"], "id": 5, "link": "eth0"}], "either id and link"),
    ([{"name": "eth0"}, {"name": "b", "interfaces": ["eth0"], "parameters": {"mode": "x"}}], "none of balance-rr"),
    ([{"name": "eth0"}, {"name": "b", "interfaces": ["eth0"], "parameters": {"primary": "eth0"}}], "no meaning in the mode"),
    ([{"name": "eth0"}, {"name": "b", "interfaces": ["eth0"], "parameters": {"lacp_rate": "fast"}}], "no meaning in the mode"),
    ([{"name": "eth0"}, {"name": "b", "interfaces": ["eth0"]}, {"name": "v", "id": 5, "link": "eth0"}], "no part of a bond"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "message"), WRONG)
def test_wrong_vlans_and_bonds_are_named(entries: list[dict[str, t.Any]], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        interfaces.parse("/srv/a", entries)
