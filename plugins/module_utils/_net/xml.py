# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Networks: specification <-> libvirt's document. Pure.

Source of the format: https://libvirt.org/formatnetwork.html
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import (
    OWN_BRIDGE_MODES,
    Bridge,
    DhcpHost,
    DnsDomain,
    Forward,
    Ip,
    NetworkSpec,
)

if t.TYPE_CHECKING:
    from lxml import etree

#: libvirt writes the children in this order; keeping to it keeps diffs small.
_ORDER = (
    "name",
    "uuid",
    "title",
    "description",
    "metadata",
    "forward",
    "bridge",
    "mtu",
    "mac",
    "domain",
    "dns",
    "vlan",
)


def read(text: str) -> NetworkSpec:
    """A document of libvirt to the specification that it fulfils (every field stated that the document has)."""
    root = _xml.parse(text, "the network's document")
    mtu = _xml.find_attribute(root, "mtu", "size")
    return NetworkSpec(
        name=_xml.find_text(root, "name") or "",
        forward=_read_forward(root),
        bridge=_read_bridge(root),
        mac=_xml.find_attribute(root, "mac", "address"),
        mtu=int(mtu) if mtu else None,
        domain=_read_domain(root),
        dns_enable=_xml.find_attribute(root, "dns", "enable") != "no",
        ips=tuple(_read_ip(node) for node in root.findall("ip")),
    )


def connections(text: str) -> int:
    """How many interfaces of domains are connected (an attribute of the live document)."""
    return int(_xml.parse(text).get("connections") or 0)


def uuid(text: str) -> str | None:
    """The UUID of the network."""
    return _xml.find_text(_xml.parse(text), "uuid")


def _read_forward(root: etree._Element) -> Forward:
    node = root.find("forward")
    if node is None:
        return Forward("none")
    return Forward(node.get("mode") or "nat", node.get("dev"))


def _read_bridge(root: etree._Element) -> Bridge:
    node = root.find("bridge")
    if node is None:
        return Bridge()
    stp, delay = node.get("stp"), node.get("delay")
    return Bridge(node.get("name"), None if stp is None else stp == "on", None if delay is None else int(delay))


def _read_domain(root: etree._Element) -> DnsDomain | None:
    name = _xml.find_attribute(root, "domain", "name")
    if name is None:
        return None
    local_only = _xml.find_attribute(root, "domain", "localOnly")
    return DnsDomain(name, local_only == "yes")


def _read_ip(node: etree._Element) -> Ip:
    address = node.get("address") or ""
    prefix = node.get("prefix") or node.get("netmask")
    if prefix is None:
        # libvirt's own default: the class of an IPv4 address, 64 for IPv6.
        first = ipaddress.ip_address(address).packed[0]
        prefix = "64" if ":" in address else "8" if first < 128 else "16" if first < 192 else "24"
    return Ip(
        ipaddress.ip_interface(f"{address}/{prefix}").with_prefixlen,
        tuple((item.get("start") or "", item.get("end") or "") for item in node.findall("dhcp/range")),
        tuple(DhcpHost(item.get("ip") or "", item.get("mac"), item.get("name")) for item in node.findall("dhcp/host")),
    )


def merge(spec: NetworkSpec, existing: str | None) -> str:
    """The document to define: what exists, with the stated fields in it. UUID and MAC of the bridge are carried over."""
    root = _xml.element("network") if existing is None else _xml.parse(existing)
    _single(root, "name").text = spec.name
    if spec.forward is not None:
        _merge_forward(root, spec.forward)
    if spec.bridge is not None:
        node = _single(root, "bridge")
        stp = None if spec.bridge.stp is None else ("on" if spec.bridge.stp else "off")
        _xml.set_attributes(node, {"name": spec.bridge.name, "stp": stp, "delay": spec.bridge.delay})
    if spec.mtu is not None:
        _single(root, "mtu").set("size", str(spec.mtu))
    if spec.mac is not None:
        _single(root, "mac").set("address", spec.mac)
    if spec.domain is not None:
        _xml.set_attributes(_single(root, "domain"), {"name": spec.domain.name, "localOnly": spec.domain.local_only})
    if spec.dns_enable is not None:
        _single(root, "dns").set("enable", "yes" if spec.dns_enable else "no")
    if spec.ips is not None:
        _merge_ips(root, spec.ips)
    return _xml.to_text(root)


def _single(root: etree._Element, tag: str) -> etree._Element:
    node = root.find(tag)
    if node is None:
        node = _xml.element(tag)
        before = _ORDER[: _ORDER.index(tag)]
        root.insert(sum(1 for item in root if item.tag in before), node)
    return node


def _merge_forward(root: etree._Element, forward: Forward) -> None:
    node = root.find("forward")
    if forward.mode == "none":
        if node is not None:
            root.remove(node)
    else:
        was = _read_forward(root)
        node = _single(root, "forward")
        if was.mode != forward.mode:
            # Children (NAT ports, interface pools) belong to the old mode.
            for item in list(node):
                node.remove(item)
        node.set("mode", forward.mode)
        for item in [] if forward.dev is None else node.findall("interface"):
            node.remove(item)
        _xml.set_attributes(node, {"dev": forward.dev})
    if forward.mode not in OWN_BRIDGE_MODES:
        # A bridge of the host has none of these; libvirt would refuse the document.
        for item in [item for item in root if item.tag in ("mac", "domain", "dns", "ip", "route", "mtu")]:
            root.remove(item)
        bridge = root.find("bridge")
        for name in ("stp", "delay"):
            if bridge is not None and name in bridge.attrib:
                del bridge.attrib[name]


def _merge_ips(root: etree._Element, ips: t.Sequence[Ip]) -> None:
    old = root.findall("ip")
    place = root.index(old[0]) if old else sum(1 for item in root if item.tag in _ORDER)
    kept = {_read_ip(node).interface: node for node in old}
    for node in old:
        root.remove(node)
    for number, ip in enumerate(ips):
        interface = ipaddress.ip_interface(ip.interface)
        known = kept.get(ip.interface)
        if known is not None:
            node = known
        else:
            attributes = {
                "family": f"ipv{interface.version}",
                "address": str(interface.ip),
                "prefix": interface.network.prefixlen,
            }
            node = _xml.element("ip", attributes)
        _merge_dhcp(node, ip)
        root.insert(place + number, node)


def _merge_dhcp(node: etree._Element, ip: Ip) -> None:
    dhcp = node.find("dhcp")
    if dhcp is None:
        if not ip.ranges and not ip.hosts:
            return
        dhcp = _xml.child(node, "dhcp")
    # What is unchanged keeps its element: it may have children (a lease time) that nobody stated here.
    ranges = {(item.get("start"), item.get("end")): item for item in dhcp.findall("range")}
    hosts = {(item.get("ip"), item.get("mac"), item.get("name")): item for item in dhcp.findall("host")}
    for item in [*ranges.values(), *hosts.values()]:
        dhcp.remove(item)
    fresh = [ranges.get(pair, _xml.element("range", {"start": pair[0], "end": pair[1]})) for pair in ip.ranges]
    fresh += [hosts.get((host.ip, host.mac, host.name), host_element(host)) for host in ip.hosts]
    for place, item in enumerate(fresh):
        dhcp.insert(place, item)
    if len(dhcp) == 0:
        node.remove(dhcp)


def host_element(host: DhcpHost) -> etree._Element:
    """A DHCP reservation as an element."""
    return _xml.element("host", {"mac": host.mac, "name": host.name, "ip": host.ip})


def host_text(host: DhcpHost) -> str:
    """The same as text, the form that a live update takes."""
    return _xml.to_text(host_element(host)).strip()


def taps(domain: str, network: str) -> list[str]:
    """The host devices through which a running domain (its live document) is in the network."""
    found = []
    for node in _xml.parse(domain).findall("devices/interface"):
        device = _xml.find_attribute(node, "target", "dev")
        if device and _xml.find_attribute(node, "source", "network") == network:
            found.append(device)
    return found
