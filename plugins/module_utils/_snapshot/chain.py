# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: the chain of files that a disk consists of, and what of it is merged when snapshots go. Pure."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Layer:
    """A file (or block device, by ``type``) of a chain. ``internal`` are the snapshots in it by name; ``empty``: nothing
    has been written to it; ``typed``: it states the format of what it stands on; ``problem``: why it cannot be read."""

    path: str
    format: str
    type: str = "file"
    size: int | None = None
    backing: str | None = None
    typed: bool = True
    internal: tuple[str, ...] = ()
    empty: bool = False
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk of the domain. ``chain`` has what it writes to first; empty for an empty drive or what is no local file.

    ``skip``: its definition wants it in no snapshot. ``job`` is the kind of block job on it, ``mirror`` where that writes;
    ``written``: whether the running domain has written to it since it began to run.
    """

    target: str
    device: str = "disk"
    type: str = "file"
    source: str | None = None
    format: str = "raw"
    readonly: bool = False
    shareable: bool = False
    skip: bool = False
    chain: tuple[Layer, ...] = ()
    job: str | None = None
    mirror: str | None = None
    written: bool | None = None

    @property
    def writable(self) -> bool:
        """Whether there is something of it to keep in a snapshot."""
        return self.device in ("disk", "lun") and not self.readonly and self.source is not None

    @property
    def paths(self) -> list[str]:
        """The files of the chain."""
        return [layer.path for layer in self.chain]


@dataclasses.dataclass(frozen=True)
class Merge:
    """What is written into ``base`` from the files in ``drop`` (the topmost first), which are not needed any more then.

    ``above`` is the file that stands on them, None when the domain itself writes to the first of them.
    """

    target: str
    base: str
    base_format: str
    drop: tuple[str, ...]
    above: str | None = None
    base_type: str = "file"

    @property
    def top(self) -> str:
        """The topmost file that goes."""
        return self.drop[0]


Same = t.Callable[[str, str], bool]


def position(disk: Disk, path: str, same: Same) -> int | None:
    """Where in the chain a file is; None when it is not in it."""
    return next((index for index, layer in enumerate(disk.chain) if same(layer.path, path)), None)


def released(disk: Disk, contents: t.Iterable[str], made: t.Collection[str], same: Same) -> list[Merge]:
    """The merges after which the ``contents`` of snapshots need not be kept any more.

    What stands on such a file goes into it, when it is one of the overlays that were ``made`` by snapshots: the file
    that the user knows is the one that stays.
    """
    going: list[int] = []
    for content in contents:
        index = position(disk, content, same)
        if index is not None and index > 0 and any(same(disk.chain[index - 1].path, path) for path in made):
            going.append(index - 1)
    merges: list[Merge] = []
    for first in sorted(set(going)):
        if first - 1 in going:
            continue
        last = first
        while last + 1 in going:
            last += 1
        base = disk.chain[last + 1]
        drop = tuple(layer.path for layer in disk.chain[first : last + 1])
        above = disk.chain[first - 1].path if first > 0 else None
        merges.append(Merge(disk.target, base.path, base.format, drop, above, base.type))
    return merges
