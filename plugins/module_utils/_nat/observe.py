# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what is there now, of all bridges, in one read. Reads only."""

from __future__ import annotations

import dataclasses
import os
import sys
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import backend, persist, record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import Record
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.spec import NatSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables

_LEGACY_TABLES = "/proc/net/ip_tables_names"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The host as far as NAT goes.

    ``tables`` are by backend, of those that matter to the call; ``files`` by path, those that exist; ``generation``
    changes with each change that this collection makes; ``unit_on``: the unit is enabled and active; ``python`` runs
    its program; ``preferred`` is what ``backend: auto`` means here; ``warnings`` are about the host as a whole.
    """

    host: backend.Host
    preferred: str
    tables: dict[str, Tables]
    records: dict[str, Record]
    files: dict[str, str]
    forwarding: bool
    systemd: bool
    unit_on: bool
    generation: str
    python: str = sys.executable
    warnings: tuple[str, ...] = ()

    def backend_of(self, spec: NatSpec) -> str:
        """The backend of a bridge: the stated one; with ``auto`` the one it already is in, else the preferred one."""
        if spec.backend == "iptables":
            return self.host.default
        if spec.backend != "auto":
            return spec.backend
        known = self.records.get(spec.bridge)
        return known.backend if known is not None and known.backend in self.host.programs else self.preferred


def observe(specs: t.Sequence[NatSpec]) -> Snapshot:
    """Reads everything that the NAT of these bridges depends on; raises KvmError when it cannot be relied on."""
    # First: what others of this collection write after this is noticed before ours is written.
    generation = read(record.LOCK) or ""
    files = _files()
    host = backend.probe()
    preferred, tables, warnings = _prefer(host)
    systemd = os.path.isdir("/run/systemd/system")
    seen = Snapshot(
        host=host,
        preferred=preferred,
        tables=tables,
        records=_records(files),
        files=files,
        forwarding=(read(persist.FORWARDING) or "0").strip() != "0",
        systemd=systemd,
        unit_on=systemd and persist.UNIT in files and _unit_on(),
        generation=generation,
    )
    names = {seen.backend_of(spec) for spec in specs}
    # With auto, that is where it is looked for once the record is gone.
    names |= {preferred for spec in specs if spec.backend == "auto"}
    names |= {seen.records[spec.bridge].backend for spec in specs if spec.bridge in seen.records}
    return dataclasses.replace(
        seen,
        tables={**tables, **{name: backend.save(host, name) for name in sorted(names - set(tables))}},
        warnings=(*warnings, *_missing(host, names), *_firewalld()),
    )


def read(path: str) -> str | None:
    """The text of a small file, None when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _files() -> dict[str, str]:
    paths = [persist.SYSCTL, persist.UNIT, persist.REPLAY, persist.PLACE]
    if os.path.isdir(record.FOLDER):
        paths += [
            f"{record.FOLDER}/{name}" for name in sorted(os.listdir(record.FOLDER)) if name.endswith(record.SUFFIX)
        ]
    texts = ((path, read(path)) for path in paths)
    return {path: text for path, text in texts if text is not None}


def _records(files: t.Mapping[str, str]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for path, text in files.items():
        if not path.endswith(record.SUFFIX):
            continue
        try:
            one = record.parse(text)
        except ValueError as exc:
            raise KvmError(f"the record {path} is damaged ({exc}): move it away, then run this again.") from exc
        if record.path(one.bridge) != path:
            raise KvmError(f"the record {path} is of bridge {one.bridge}: move it away, then run this again.")
        records[one.bridge] = one
    return records


def _prefer(host: backend.Host) -> tuple[str, dict[str, Tables], list[str]]:
    """What ``auto`` means, the tables that had to be read for that, and a warning when both kinds hold rules."""
    other = backend.LEGACY if host.default == backend.NFT else backend.NFT
    # The kernel lists the legacy tables that are loaded: without any there is nothing to read.
    if other == backend.LEGACY and not (read(_LEGACY_TABLES) or "").strip():
        return host.default, {}, []
    others = backend.in_use(host, other)
    busy = sorted(table for table, chains in others.items() if any(chains.values()))
    if not busy:
        return host.default, {}, []
    mine = backend.save(host, host.default)
    preferred = other if _managed(others) and not _managed(mine) else host.default
    warning = (
        f"This host has rules of {other} (in {', '.join(busy)}) beside {host.default}, and a packet has to pass both:"
        f" what one refuses the other cannot let through. With backend: auto, new rules go to {preferred}."
    )
    return preferred, {host.default: mine}, [warning]


def _managed(found: Tables) -> bool:
    return any(chain.startswith(("LIBVIRT_", "DOCKER")) for chains in found.values() for chain in chains)


def _missing(host: backend.Host, names: t.Iterable[str]) -> list[str]:
    return [
        f"{name} is not installed: this assumes that a task before installs the package iptables, and that there are no rules yet."
        for name in sorted(names)
        if name not in host.programs
    ]


def _firewalld() -> list[str]:
    try:
        program = _command.find("nft", "nftables")
    except ToolMissing:
        return []
    # Its table by name: a list of all tables takes as long as all their rules.
    if _command.run([program, "list", "table", "inet", "firewalld"], timeout=30, ok=()).rc != 0:
        return []
    return [
        "firewalld runs on this host, and what its zones refuse these rules cannot let through: put the bridge into a zone that"
        " accepts and forwards (firewall-cmd --permanent --zone=libvirt --change-interface=BRIDGE)."
    ]


def _unit_on() -> bool:
    program = _command.find("systemctl", "systemd")
    answers = [
        _command.run([program, question, "--quiet", persist.UNIT_NAME], timeout=30, ok=())
        for question in ("is-enabled", "is-active")
    ]
    return all(answer.rc == 0 for answer in answers)
