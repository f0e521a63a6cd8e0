# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the DHCP servers of libvirt's networks have given out: thin typed calls that give plain data."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, steady, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: MAC address to its leases: ``address``, ``network``, ``bridge``, ``hostname`` and ``expires`` (seconds since 1970).
Leases = dict[str, list[dict[str, t.Any]]]


#: How DUIDs begin that end with a MAC address, and how long they are.
_DUIDS: dict[tuple[int, ...], int] = {(0, 1, 0, 1): 14, (0, 3, 0, 1): 10}


class Reservation(t.NamedTuple):
    """An address that a DHCP server of libvirt keeps for a guest; ``mac`` is empty when it is known by its name.

    DHCPv6 knows guests by another number (DUID). ``duid_mac`` is the MAC address that it is made of, if it is.
    """

    mac: str
    name: str
    address: str
    duid_mac: str = ""


@steady
def reservations(connection: t.Any) -> list[Reservation]:
    """All reservations of all networks, running or defined; none where the hypervisor has no such networks."""
    found: dict[Reservation, None] = {}
    try:
        with translated("Cannot list the networks"):
            networks = connection.listAllNetworks(0)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_SUPPORT"):
            return []
        raise
    for network in networks:
        try:
            with translated(f"Cannot read network {network.name()}"):
                documents = [network.XMLDesc(flags) for flags in (0, libvirt.VIR_NETWORK_XML_INACTIVE)]
        except LibvirtError as exc:
            # One that is gone by now.
            if is_code(exc, "VIR_ERR_NO_NETWORK"):
                continue
            raise
        for document in documents:
            for host in _xml.parse(document, "a network").findall("ip/dhcp/host"):
                if host.get("ip"):
                    mac, name = (host.get("mac") or "").lower(), host.get("name") or ""
                    one = Reservation(mac, name, host.get("ip") or "", duid_mac(host.get("id") or ""))
                    found[one] = None
    return list(found)


def duid_mac(text: str) -> str:
    """The MAC address in a DUID that is made of one (RFC 8415, types 1 and 3, of Ethernet); empty when it is not."""
    try:
        numbers = [int(part, 16) for part in text.split(":")]
    except ValueError:
        return ""
    length = _DUIDS.get(tuple(numbers[:4]))
    return ":".join(f"{number:02x}" for number in numbers[-6:]) if len(numbers) == length else ""


@steady
def read(connection: t.Any) -> Leases:
    """All leases of all active networks; none where the hypervisor has no such networks."""
    found: Leases = {}
    try:
        with translated("Cannot list the networks"):
            networks = connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
    except LibvirtError as exc:
        if is_code(exc, "VIR_ERR_NO_SUPPORT"):
            return found
        raise
    for network in networks:
        try:
            with translated(f"Cannot read the leases of network {network.name()}"):
                leases = network.DHCPLeases()
        except LibvirtError as exc:
            # A network that was just stopped, or one of a kind without a DHCP server.
            if is_code(exc, "VIR_ERR_NO_NETWORK", "VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_SUPPORT"):
                continue
            raise
        for lease in leases:
            found.setdefault((lease.get("mac") or "").lower(), []).append(
                {
                    "address": lease["ipaddr"],
                    "network": network.name(),
                    "bridge": lease.get("iface"),
                    "hostname": lease.get("hostname"),
                    "expires": lease.get("expirytime"),
                }
            )
    return found


def neighbours(connection: t.Any, name: str) -> list[tuple[str, str]]:
    """MAC address and address of a running domain's interfaces, as the hypervisor's own neighbour table has them."""
    try:
        with translated(f"Cannot read the neighbours of domain {name}"):
            domain = connection.lookupByName(name)
            found = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, 0)
    except LibvirtError:
        # Some versions cannot read the table of some kernels ("wrong nlmsg len"): then it knows nobody.
        return []
    return [
        ((entry.get("hwaddr") or "").lower(), address["addr"])
        for entry in found.values()
        for address in entry.get("addrs") or ()
    ]
