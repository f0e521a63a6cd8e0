# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What of others no rule of ours can overcome: firewalld's zones and chains made with nft itself. Pure."""

from __future__ import annotations

import ipaddress
import types
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import dialect, native, saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.firewalld import Zones
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.forwards import Forward
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import six, version
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version

_SERVICES = {53: "DNS", 67: "DHCP"}
#: So many rules are followed for a warning.
_MANY = 1000


def check(spec: NatSpec, seen: Snapshot) -> None:
    """Raises KvmError when firewalld refuses whatever the guests send: the rules would be there and nothing would work."""
    if spec.firewalld_zone is None and any(_is_firewalld(chain) for chain in _forward(spec, seen)):
        raise KvmError(
            f"nat of bridge {spec.bridge}: firewalld runs on this host and refuses what its guests send, which these rules cannot"
            " let through; put the bridge into a zone that lets it through (firewalld_zone: libvirt, or firewall-cmd"
            f" --permanent --zone=libvirt --change-interface={spec.bridge} and its reload), then run this again."
        )
    for name, subnet, chains in _beside(spec, seen):
        default = seen.leads_out.get(version(name))
        if _verdicts().refuses_forwarding(chains, spec.bridge, subnet, spec.shape.out_interface, default):
            raise KvmError(
                f"nat of bridge {spec.bridge}: {name} refuses in table filter, chain FORWARD, what the guests of {subnet} send or the"
                " answers to it, which rules in a table of nft cannot let through; take the backend that those rules are in"
                f" (backend: {'iptables' if name.endswith('-nft') else 'iptables-legacy'}), or let the packets of {spec.bridge}"
                " pass there, then run this again."
            )


def warnings(spec: NatSpec, seen: Snapshot) -> list[str]:
    """The chains that keep the guests from the network, or from the services of the host that they are to reach."""
    found = []
    moving = _moving(spec, seen)
    for chain in _forward(spec, seen):
        if not _is_firewalld(chain):
            found.append(
                f"nat of bridge {spec.bridge}: {chain}, which is not one of iptables, refuses what its guests send or the answers"
                f" to it, and these rules cannot let it through; accept packets from and to {spec.bridge} there."
            )
        elif not moving and spec.firewalld_zone is not None:
            found.append(
                f"nat of bridge {spec.bridge}: zone {spec.firewalld_zone} of firewalld lets nothing out of the host that comes from"
                " its guests; take one that does, like libvirt."
            )
    if moving and seen.zones is not None:
        found += _foreseen(spec, seen.zones)
    for chain, names in _input(spec, seen).items():
        if not (moving and _is_firewalld(chain)):
            found.append(
                f"nat of bridge {spec.bridge}: {chain}, which is not one of iptables, refuses {' and '.join(names)} from its guests to"
                " this host; let it through there"
                + (f" (services of a zone of firewalld: {', '.join(names).lower()})." if _is_firewalld(chain) else ".")
            )
    for name, subnet, chains in _beside(spec, seen):
        served = [(53, spec.shape.dns), (67, spec.shape.dhcp and ":" not in subnet)]
        names = [
            _SERVICES[port]
            for port, on in served
            if on and _verdicts().refuses_service(chains, spec.bridge, subnet, port)
        ]
        if names:
            found.append(
                f"nat of bridge {spec.bridge}: {name} refuses {' and '.join(names)} from its guests to this host, which rules in a table"
                " of nft cannot let through; let it through there."
            )
    return found


def _verdicts() -> types.ModuleType:
    # Only rules of nft that are beside those of iptables need it, and it takes longer to load than all else here.
    from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import verdicts

    return verdicts


def overruled(spec: NatSpec, after: Snapshot) -> list[str]:
    """What of iptables refuses the guests' packets still when the rules of the bridge are in place: what comes before them, or is
    beside them."""
    found = []
    for name, subnet, chains in (*_among(spec, after), *_beside(spec, after)):
        rule = _verdicts().overruled(chains, spec.bridge, subnet, _out(spec, after, version(name)))
        if rule is not None:
            found.append(
                f"nat of bridge {spec.bridge}: {name} refuses what the guests of {subnet} send to the world or the answers to it, and"
                f" these rules cannot let it through ({rule}); let the packets of {spec.bridge} pass there."
            )
        rule = _verdicts().mutes(chains, spec.bridge, subnet) if spec.shape.dns or spec.shape.dhcp else None
        if rule is not None:
            found.append(
                f"nat of bridge {spec.bridge}: {name} refuses the answers of this host to its guests, as of DNS and DHCP ({rule}); let"
                f" through there what leaves by {spec.bridge}."
            )
        for one in _forwards(spec, after, subnet):
            rule = _verdicts().shuts(chains, spec.bridge, one, _out(spec, after, version(name)))
            if rule is not None:
                found.append(
                    f"nat of bridge {spec.bridge}: {name} refuses what comes to {one}, which is forwarded to {one.to_address}, or the"
                    f" answers to it, and these rules cannot let it through ({rule}); let it pass there."
                )
    return found


def _forwards(spec: NatSpec, after: Snapshot, subnet: str) -> list[Forward]:
    """The ports that lead to guests of a subnet."""
    network = ipaddress.ip_network(subnet)
    known = after.records.get(spec.bridge)
    some = known.shape.port_forwards if known is not None else ()
    return [one for one in some if one.to_address is not None and ipaddress.ip_address(one.to_address) in network]


def _out(spec: NatSpec, seen: Snapshot, number: int) -> str | None:
    """The device that leads to the world."""
    return spec.shape.out_interface or seen.leads_out.get(number)


def _among(spec: NatSpec, after: Snapshot) -> t.Iterator[tuple[str, str, Saved]]:
    """The tables with the rules of the bridge, for each subnet; not where following all of the rules takes too long for a warning."""
    backend = after.backend_of(spec)
    for number, name in ((4, backend), (6, six(backend))):
        known = after.tables.get(name, {})
        some = known.get("filter", {})
        if backend == dialect.NFTABLES or sum(map(len, some.values())) > _MANY:
            continue
        # The policies of the other chains do not decide about what our rules accept.
        if "OUTPUT" not in after.closed.get(name, ()) and not _refuses(some, number, after):
            continue
        subnets = of_version(spec.subnets, number)
        chains = saved.of_plain(known, after.closed.get(name, ())) if subnets else {}
        for subnet in subnets:
            yield name, subnet, chains


def _refuses(some: t.Mapping[str, t.Sequence[str]], number: int, after: Snapshot) -> bool:
    """Whether others have any rule in the table that refuses something: most hosts have none."""
    known = [one.rules if number == 4 else one.rules6 for one in after.records.values()]
    ours = {rule for one in known for rule in one.get("filter", {}).get("FORWARD", ())}
    return any(
        ("-j DROP" in rule or "-j REJECT" in rule) and rule not in ours for lines in some.values() for rule in lines
    )


def _beside(spec: NatSpec, seen: Snapshot) -> t.Iterator[tuple[str, str, Saved]]:
    """The tables of each kind of iptables, for each subnet, when the rules of the bridge are to be in a table of nft and
    anything can happen there."""
    if seen.backend_of(spec) == dialect.NFTABLES:
        for name, some in seen.policies.items():
            if "filter" not in saved.busy(some):
                continue
            for subnet in of_version(spec.subnets, version(name)):
                yield name, subnet, some


def _is_firewalld(chain: native.Chain) -> bool:
    return (chain.family, chain.table) == native.FIREWALLD


def _moving(spec: NatSpec, seen: Snapshot) -> bool:
    """Whether the bridge is still to be put into the zone."""
    zones = seen.zones
    return spec.firewalld_zone is not None and (
        zones is None or zones.of(spec.bridge, permanent=False) != spec.firewalld_zone
    )


def _foreseen(spec: NatSpec, zones: Zones) -> list[str]:
    """What the zone says by itself; a policy of firewalld may say more."""
    what = f"nat of bridge {spec.bridge}: zone {spec.firewalld_zone} of firewalld does not by itself let"
    found = []
    for zone in (zone for zone in zones.permanent if zone.name == spec.firewalld_zone):
        if not zone.lets_out:
            found.append(f"{what} out of the host what comes from its guests; take one that does, like libvirt.")
        wanted = [("dns", spec.shape.dns), ("dhcp", spec.shape.dhcp)]
        lacking = [name for name, on in wanted if on and not zone.serves(name)]
        if lacking:
            asked, added = (" and ".join(names) for names in ([name.upper() for name in lacking], lacking))
            found.append(f"{what} its guests ask the host for {asked}; add the services {added} to it.")
    return found


def _device(spec: NatSpec, seen: Snapshot) -> str:
    """The bridge as firewalld will see it: one that is to be taken out of its zone is like any other device then."""
    known = seen.records.get(spec.bridge)
    ours = known.zone if known is not None and spec.firewalld_zone is None else None
    leaves = ours is not None and seen.zones is not None and seen.zones.of(spec.bridge, permanent=False) == ours
    return "" if leaves else spec.bridge


def _forward(spec: NatSpec, seen: Snapshot) -> list[native.Chain]:
    found: list[native.Chain] = []
    device = _device(spec, seen)
    for subnet in spec.subnets:
        for packet in native.outgoing(spec.bridge, subnet, spec.shape.out_interface):
            later = {key: device if value == spec.bridge else value for key, value in packet.items()}
            refusing = [chain for chain in native.refusing(seen.native, "forward", packet) if not _is_firewalld(chain)]
            refusing += [chain for chain in native.refusing(seen.native, "forward", later) if _is_firewalld(chain)]
            found += [chain for chain in refusing if chain not in found]
    return found


def _input(spec: NatSpec, seen: Snapshot) -> dict[native.Chain, list[str]]:
    found: dict[native.Chain, list[str]] = {}
    wanted: list[tuple[int, t.Any]] = [(53, spec.shape.dns), (67, spec.shape.dhcp)]
    for port in (port for port, on in wanted if on and of_version(spec.subnets, 4)):
        for chain in native.refusing(seen.native, "input", native.served(spec.bridge, port)):
            found.setdefault(chain, []).append(_SERVICES[port])
    return found
