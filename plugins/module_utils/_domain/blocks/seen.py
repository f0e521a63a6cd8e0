# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Disks as they are: size, job and what is at the place of a copy. Plain data, read by look.py. Pure."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Place:
    """What is where a copy is to be: ``kind`` is ``none``, ``file``, ``block`` or ``other``; sizes in bytes."""

    kind: str = "none"
    #: Whether the folder is there that it is in.
    folder: bool = True
    empty: bool = False
    format: str | None = None
    size: int | None = None
    #: Whether it stands on another file.
    backing: bool = False
    #: Whether it is part of the disk that is to be copied.
    beneath: bool = False
    #: Another domain that uses it, itself or through an overlay.
    user: str | None = None


@dataclasses.dataclass(frozen=True)
class Disk:
    """One disk of a domain. ``running`` is the source that the running domain has (None: not running, or not there)."""

    running: str | None = None
    #: The source of its definition, and what that stands on.
    chain: tuple[str, ...] = ()
    #: What the guest sees, or will see; None when it is not known.
    size: int | None = None
    #: What the device of the host has, of a disk on one.
    device: int | None = None
    #: Why its size cannot be changed; the end of a sentence.
    fixed: str | None = None
    #: A domain that it would be changed under.
    user: str | None = None
    #: The job on it (``copy``, ``commit``, ``pull``, ...), and the path of its copy.
    job: str | None = None
    copy: str | None = None
    ready: bool = False
    #: What is where its copy is to be; None when that cannot be looked at.
    place: Place | None = None
