# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: what is carried out, in which order. Pure."""

from __future__ import annotations

import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal


@dataclasses.dataclass(frozen=True)
class Quiet:
    """The seconds that the agent has for an answer, and those that somebody had given it before (None: nobody)."""

    timeout: int
    before: int | None = None


@dataclasses.dataclass(frozen=True)
class Creation:
    """A snapshot to be made: its document and libvirt's words for how; ``quiet`` when the agent has to help."""

    document: str
    flags: tuple[str, ...]
    quiet: Quiet | None = None


@dataclasses.dataclass(frozen=True)
class Overlay:
    """A fresh and empty overlay to be put into the place of the one at ``path``; ``size`` of its disk in bytes."""

    target: str
    path: str
    base: str
    base_format: str
    size: int


@dataclasses.dataclass(frozen=True)
class Reversion:
    """A domain to be put back. With ``overlays`` and the ``definition`` on them by us, otherwise by libvirt.

    ``stop``: force it off before; ``discard``: remove its saved state before; ``flags``: libvirt's words; ``off_after``:
    force it off at the end; ``start``: start it at the end (``running``, ``paused``), from the memory in the file ``memory``
    with the definition ``memory_definition`` when there is one.
    """

    stop: bool = False
    discard: bool = False
    flags: tuple[str, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    definition: str | None = None
    off_after: bool = False
    start: str | None = None
    memory: str | None = None
    memory_definition: str | None = None


@dataclasses.dataclass
class SnapshotPlan:
    """What the apply room does; None or empty = nothing of the kind. ``missing``: the real run stops here."""

    missing: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    create: Creation | None = None
    #: The document of a snapshot whose description changes.
    describe: str | None = None
    #: What goes: its merges, then its records, then its files.
    removal: Removal | None = None
    #: Snapshots that libvirt removes with their data, and those of which only the record goes; children first.
    delete: list[str] = dataclasses.field(default_factory=list)
    forget: list[str] = dataclasses.field(default_factory=list)
    revert: Reversion | None = None
