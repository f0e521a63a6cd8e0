# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the user is told beside the changes: return values and warnings. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import compare, rules, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.compare import NatPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec


def facts(spec: NatSpec, changes: ChangeSet) -> dict[str, t.Any]:
    """The return values of one bridge."""
    plan: NatPlan = changes.plan
    closing = spec.state == "absent"
    programs = plan.result.host.programs
    return {
        "rules": {
            table: [f"-A {chain} {rule}" for chain, some in chains.items() for rule in some]
            for table, chains in plan.rules.items()
        },
        "subnets": list(spec.subnets),
        "backend": plan.backend,
        "persist": compare.persistence(spec, plan.result),
        "tables_changed": [table for table in tables.TABLES if any(edit.table == table for edit in plan.edits)],
        "commands": [
            {
                "command": " ".join([programs.get(name, ("", f"{name}-restore"))[1], "-w 10 --noflush"]),
                "input": payload.splitlines(),
            }
            for name, _table, payload in compare.payloads([plan], closing)
        ],
    }


def warnings(spec: NatSpec, seen: Snapshot, first: bool) -> list[str]:
    """What may keep the guests of the bridge from the network; what is about the host as a whole with the ``first`` only."""
    found = list(seen.warnings) if first else []
    if spec.state == "absent":
        return found
    theirs = rules.names_bridge(spec.bridge, seen.tables.get(seen.backend_of(spec), {}))
    if theirs:
        found.append(
            f"nat of bridge {spec.bridge}: libvirt has rules of its own for this bridge ({theirs[0]}), which come first; give its"
            " network the forward mode open."
        )
    if spec.persist == "auto" and not seen.systemd:
        found.append(
            f"nat of bridge {spec.bridge}: there is no systemd on this host, so the rules are gone after its next start until this"
            " runs again; say persist: none if that is as you want it."
        )
    return found
