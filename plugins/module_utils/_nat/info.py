# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What kvm_nat_info returns: the NAT of each bridge as it is among the rules of others, and an explained flow. Pure."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import explain, rules, saved, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.explain import Explained, Flow
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.leg import Step
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.placing import Site
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Own, Tables, key


def recognised(bridge: str, backend: str, found: Saved) -> Record | None:
    """The NAT of a bridge that has the thirteen rules and no record; None when it has not."""
    subnets = rules.recognise(bridge, saved.plain(found))
    return Record(bridge, backend, "none", subnets, rules.render(bridge, subnets)) if subnets else None


def nat(record: Record, found: Saved, recorded: bool, found6: Saved | None = None) -> dict[str, t.Any]:
    """The NAT of one bridge; ``found6`` are the host's rules for IPv6, None when nobody looked."""
    lines, problems = _placed(record.bridge, record.rules, record.stale, found)
    lines6, problems6 = _placed(record.bridge, record.rules6, record.stale6, found6 or {})
    problems += [f"IPv6: {problem}" for problem in problems6]
    problems += [f"a move from {name} was ended amid: rules of the bridge may be left there" for name in record.left]
    return {
        "bridge": record.bridge,
        "recorded": recorded,
        "subnets": list(record.subnets),
        "backend": record.backend,
        "persist": record.persist,
        "options": dataclasses.asdict(record.shape),
        "rules": lines,
        "rules6": lines6,
        "in_place": not problems,
        "problems": problems,
    }


def _placed(bridge: str, wanted: Tables, stale: Tables, found: Saved) -> tuple[list[dict[str, t.Any]], list[str]]:
    """The rules of one version of IP where they are, and why they are not where they have to be."""
    plain = saved.plain(found)
    owned = rules.union(wanted, stale)
    problems: list[str] = []
    lines: list[dict[str, t.Any]] = []
    for table, chain in tables.CHAINS:
        want = tables.get(wanted, table, chain)
        own = Own(tables.get(owned, table, chain))
        problems += _problems(bridge, Site(plain, table, chain, bridge), want, own, plain)
        lines += _counted(table, chain, want, found)
    return lines, problems


def _counted(table: str, chain: str, want: t.Sequence[str], found: Saved) -> list[dict[str, t.Any]]:
    known = found.get(table, {}).get(chain)
    keys = {key(rule) for rule in want}
    places: dict[tuple[str, ...], tuple[int, saved.Line]] = {}
    for position, line in enumerate(known.lines if known is not None else (), 1):
        # Most lines are not ours: the target alone tells that of many.
        if line.rule in want or key(line.rule) in keys:
            places.setdefault(key(line.rule), (position, line))
    lines = []
    for rule in want:
        position, line = places.get(key(rule), (0, saved.Line("", 0, 0)))
        counted = {"position": position or None, "packets": line.packets, "bytes": line.bytes}
        lines.append({"table": table, "chain": chain, "rule": f"-A {chain} {rule}", **counted})
    return lines


def _problems(bridge: str, site: Site, want: t.Sequence[str], own: Own, plain: Tables) -> list[str]:
    """Why the rules of a chain are not as they are to be; none when they are."""
    if site.place(want, own) == site.have:
        return []
    where = f"{site.table} {site.chain}"
    have = [rule for rule in site.have if rule in own]
    counts = collections.Counter(key(rule) for rule in have)
    wanted = collections.Counter(key(rule) for rule in want)
    found = [f"{where}: missing: {rule}" for rule in dict.fromkeys(want) if not counts[key(rule)]]
    found += [
        f"{where}: {counts[key(rule)]} times, not {wanted[key(rule)]}: {rule}"
        for rule in dict.fromkeys(have)
        if counts[key(rule)] > max(1, wanted[key(rule)])
    ]
    found += [f"{where}: left over from before: {rule}" for rule in dict.fromkeys(have) if not wanted[key(rule)]]
    if not found and [key(rule) for rule in have] != [key(rule) for rule in want]:
        found.append(f"{where}: the rules are not in their order")
    return found or _dead(bridge, site, want, own, plain)


def _dead(bridge: str, site: Site, want: t.Sequence[str], own: Own, plain: Tables) -> list[str]:
    """The rules of others that are on the wrong side of ours."""
    where = f"{site.table} {site.chain}"
    ours = [position for position, rule in enumerate(site.have, 1) if rule in own]

    def wrong(lines: list[str]) -> bool:
        alone: Tables = {**plain, site.table: {**plain.get(site.table, {}), site.chain: lines}}
        return Site(alone, site.table, site.chain, bridge).place(want, own) != lines

    for position, rule in enumerate(site.have, 1):
        if rule in own:
            continue
        if position < ours[-1] and wrong([rule, *want]):
            return [f"{where}: rule {position} takes packets before the rules of the bridge can: {rule}"]
        if position > ours[0] and wrong([*want, rule]):
            return [f"{where}: rule {position} has to be before the rules of the bridge: {rule}"]
    return [f"{where}: the rules are not where they work"]


def explanation(asked: Flow, found: Explained) -> dict[str, t.Any]:
    """The return value of an explained flow."""
    there, back = found.there, found.back
    return {
        "summary": explain.summary(asked, found),
        "works": found.works,
        "verdict": there.verdict,
        "answer": back.verdict if back is not None else None,
        "in_interface": there.packet.in_interface or None if not there.at_home else None,
        "out_interface": None if there.local else there.out_device or None,
        "source": str(there.before_snat.source),
        "translated": {
            "source": str(there.packet.source),
            "source_port": str(there.packet.source_port or there.ports or "") or None,
            "destination": str(there.packet.destination),
            "destination_port": there.packet.destination_port,
        },
        "depends_on": explain.doubts(found),
        "steps": [_step(step) for leg in (there, back) if leg is not None for step in leg.steps],
    }


def _step(step: Step) -> dict[str, t.Any]:
    place = step.place
    return {
        "direction": step.direction,
        "hook": step.hook,
        "table": step.table or None,
        "backend": step.backend or None,
        "chain": place.chain if place is not None else None,
        "position": place.position if place is not None else None,
        "rule": place.rule if place is not None else None,
        "verdict": step.verdict,
        "via": [str(one) for one in step.via],
        "depends_on": [str(one) for one in step.doubts],
        "text": step.text,
    }
