# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as kvm_nat sees them, made up."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import backend, persist
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.observe import Snapshot
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables


def seen(tables: dict[str, Tables] | None = None, **others: t.Any) -> Snapshot:
    """A host with these rules by backend, whose programs it has: without records, systemd or anything else but what is stated."""
    tables = {backend.NFT: {}} if tables is None else tables
    plain: dict[str, t.Any] = {
        "host": backend.Host(backend.NFT, {name: (f"{name}-save", f"{name}-restore") for name in tables}),
        "preferred": backend.NFT,
        "records": {},
        "files": {},
        "forwarding": True,
        "systemd": False,
        "unit_on": False,
        "generation": "",
    }
    return Snapshot(tables=tables, **{**plain, **others})


def programs(folder: pathlib.Path, files: t.Mapping[str, str]) -> pathlib.Path:
    """Puts the programs of a host into a folder; gives the one that places rules."""
    for path in persist.PROGRAMS:
        (folder / pathlib.Path(path).name).write_text(files[path], encoding="utf-8")
    return folder / pathlib.Path(persist.PLACE).name
