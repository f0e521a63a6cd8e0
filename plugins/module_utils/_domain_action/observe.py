# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Actions on domains: the domain, and the place for what an action writes. Reads only."""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.spec import ActionSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains


@dataclasses.dataclass(frozen=True)
class Session:
    """What the actions of one call have in common; without a connection (a machine before its first run) there is no
    domain."""

    connection: t.Any
    local: bool = True


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a file is to be: whether its folder is there, what is at its path (None: nothing, ``file``, ``other``), and the
    free bytes."""

    folder: bool = True
    holds: str | None = None
    free: int = 0


@dataclasses.dataclass(frozen=True)
class ActionState:
    """A domain, as far as actions ask; ``memory`` in bytes, ``screen``: whether it has one, if it runs and that matters."""

    uuid: str | None = None
    state: str = "absent"
    reason: str = "unknown"
    memory: int = 0
    local: bool = True
    place: Place | None = None
    screen: bool = True


def observe(session: Session, spec: ActionSpec) -> ActionState:
    """Reads the domain and looks at the path."""
    place = None if spec.path is None else look(spec.path)
    if session.connection is None:
        return ActionState(local=session.local, place=place)
    found = domains.brief(session.connection, spec.name)
    if found is None:
        return ActionState(local=session.local, place=place)
    screen = spec.action != "screenshot" or domains.has_screen(session.connection, spec.name)
    return ActionState(*found, local=session.local, place=place, screen=screen)


def look(path: str) -> Place:
    """What is at a path, itself, not where it leads."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return Place(folder=False)
    try:
        holds = "file" if stat.S_ISREG(os.lstat(path).st_mode) else "other"
    except FileNotFoundError:
        holds = None
    room = os.statvfs(folder)
    return Place(True, holds, room.f_bavail * room.f_frsize)
