# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the whole picture of a disk: its partitions, what they hold, which is the root file system and why."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, InvalidSpec, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import fstab
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import gpt, probe, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Cached, Reader, Window
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tables import Partition, Table
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Tree
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volume import Volume
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.volumes import (
    READABLE,
    logical_volumes,
    open_volume,
)

#: How ``partition`` names the root file system, whichever it is.
ROOT = "root"
# The types of root partitions by the Discoverable Partitions Specification, of the machines that guests have (x86-64,
# ARM-64, x86, ARM, PPC64LE, PPC64, S390X, RISC-V-64, LoongArch-64).
_ROOT_TYPES = (
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
    "44479540-F297-41B2-9AF7-D131D5F0458A",
    "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3",
    "C31C45E6-3F39-412E-80FB-4809C4980599",
    "912ADE1D-A839-4913-8964-A10EEE08FBD2",
    "5EEAD9A9-FE09-4A1E-A1D7-520D00531306",
    "72EC70A6-CF74-40E6-BD49-4BDA08E8F224",
    "77055800-792C-4F94-B39A-98C91B762BB6",
)
_XBOOTLDR = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
_SYSTEM_FILES = ("/etc/os-release", "/usr/lib/os-release", "/etc/fstab", "/etc/passwd")


@dataclasses.dataclass(frozen=True)
class Root:
    """The root file system and why it is that one."""

    area: Area
    reason: str


class Inside:
    """What is on a disk. ``no_root`` says why no root file system was chosen."""

    def __init__(self, reader: Reader, partition: int | str | None = None) -> None:
        self.reader = Cached(reader)
        self.table: Table = tables.read(self.reader)
        self.areas = _areas(self.reader, self.table)
        self.no_root: str | None = None
        self.root: Root | None = None
        self.logical: list[Area] = []
        self._readers: dict[str, Reader] = {}
        self._volumes: dict[Area, Volume | None] = {}
        self._damage: list[str] = []
        self._fstab: dict[Area, list[fstab.Entry]] = {}
        self._find_logical()
        if isinstance(partition, int):
            self.root = Root(self.area(partition), "it was stated")
        else:
            self._choose()

    def area(self, number: int | None) -> Area:
        """The partition of that number; raises InvalidSpec when there is none."""
        if number not in self.areas:
            known = ", ".join(str(key) for key in self.areas if key is not None)
            raise InvalidSpec(f"it has no partition {number} (but {known or 'no partition table'})")
        return self.areas[number]

    @property
    def meant(self) -> Area | None:
        """The area that a declaration is about: the root file system, or a disk without partitions as a whole."""
        return self.root.area if self.root is not None else self.areas.get(None)

    def window(self, area: Area) -> Reader:
        """The bytes of an area."""
        if area.volume is not None:
            return self._readers[area.volume]
        return Window(self.reader, area.offset, area.size)

    def separate(self, path: str) -> Volume | None:
        """The file system of its own that is mounted at ``path`` (/boot, /usr) of the system; None when there is none."""
        volume = self.volume(self.root.area) if self.root is not None else None
        area = self._mounted(Tree(volume), path) if volume is not None else None
        return self._try_volume(area) if area is not None else None

    def readable(self, area: Area) -> bool:
        """Whether the area has a sound file system of a kind that is read here."""
        return self._try_volume(area) is not None

    def volume(self, area: Area) -> Volume | None:
        """The file system of an area, None when it is of a kind that is not read here.

        Raises Damaged or Unsupported when it is broken or has something unknown.
        """
        if area not in self._volumes:
            kind = area.signature.kind if area.signature is not None else None
            readable = kind is not None and kind in READABLE
            self._volumes[area] = open_volume(self.window(area), str(kind)) if readable else None
        return self._volumes[area]

    def tree(self) -> Tree | None:
        """The files of the system on the disk, with a separate /boot in its place; None without a readable root."""
        volume = self.volume(self.root.area) if self.root is not None else None
        if self.root is None or volume is None:
            return None
        tree = Tree(volume)
        for path in ("/usr", "/boot", "/boot/efi"):
            area = self._mounted(tree, path)
            inner = self._try_volume(area) if area is not None else None
            if inner is not None:
                tree.mount(path, inner)
        return tree

    def _try_volume(self, area: Area) -> Volume | None:
        # What is broken beside the root file system must not hide the root.
        with contextlib.suppress(Damaged, Unsupported):
            return self.volume(area)
        return None

    def _mounted(self, tree: Tree, path: str) -> Area | None:
        """The partition that belongs at ``path``: by fstab, by its type, else the one that looks like it."""
        others = [area for area in (*self.areas.values(), *self.logical) if area != self._root_area()]
        for entry in self._entries(tree):
            if entry.path == path:
                found = next((area for area in others if self.is_named(area, entry.source)), None)
                if found is not None:
                    return found
                # A name of the hardware, or what the file system was called before.
                break
        if path != "/boot" or tree.names("/boot"):
            return None
        typed = [area for area in others if self._type(area) == _XBOOTLDR]
        return next((area for area in typed or others if self._has_kernel(area)), None)

    def _entries(self, tree: Tree) -> list[fstab.Entry]:
        """The entries of the root file system's fstab, which is read once."""
        area = self._root_area()
        if area is None:
            return []
        if area not in self._fstab:
            self._fstab[area] = fstab.parse(tree.text("/etc/fstab") or "")
        return self._fstab[area]

    def _has_kernel(self, area: Area) -> bool:
        volume = self._try_volume(area)
        if volume is None:
            return False
        with contextlib.suppress(Damaged, Unsupported):
            return any(name.startswith("vmlinuz") for name in volume.names(volume.root()))
        return False

    def is_named(self, area: Area, source: str) -> bool:
        """Whether fstab's first word names that area."""
        return fstab.names(source, self.known(area))

    def known(self, area: Area) -> fstab.Device:
        """By what an area can be named in fstab."""
        sign = area.signature
        if area.volume is not None:
            uuid, label = (sign.uuid, sign.label) if sign else (None, None)
            return fstab.Device(None, uuid, label, None, None, area.paths)
        if area.number is None:
            return fstab.Device(None, sign.uuid if sign else None, sign.label if sign else None, None, None)
        partition = self._partition(area)
        return fstab.Device(
            area.number, sign.uuid if sign else None, sign.label if sign else None, partition.uuid, partition.name
        )

    def _find_logical(self) -> None:
        """The logical volumes of LVM; those that cannot be read here are as good as not there."""
        members = {n: a for n, a in self.areas.items() if a.signature is not None and a.signature.kind == "LVM2_member"}
        if not members:
            return
        try:
            found = logical_volumes({number: self.window(area) for number, area in members.items()})
        except (Damaged, Unsupported) as exc:
            self._damage.append(exc.message)
            return
        for item in found:
            if item.reader is None:
                self._damage.append(f"{item.vg}/{item.name}: {item.problem}")
                continue
            name = f"{item.vg}/{item.name}"
            offset = members[item.contiguous[0]].offset + item.contiguous[1] if item.contiguous else 0
            self._readers[name] = item.reader
            sign = probe.identify(item.reader)
            self.logical.append(Area(item.pv, offset, item.size, sign, name, item.contiguous is None, item.names))

    def _type(self, area: Area) -> str | None:
        return self._partition(area).type if area.number is not None and area.volume is None else None

    def _partition(self, area: Area) -> Partition:
        return next(item for item in self.table.partitions if item.number == area.number)

    def _root_area(self) -> Area | None:
        return self.root.area if self.root is not None else None

    def _choose(self) -> None:
        """The stated rules, the first that decides."""
        if self.table.kind == "none" and not self.logical:
            self._choose_whole()
            return
        areas = [*self.areas.values(), *self.logical]
        candidates = [area for area in areas if area.signature and area.signature.kind in READABLE]
        candidates = [area for area in candidates if area.signature and area.signature.kind != "vfat"]
        if not candidates:
            held = ", ".join(sorted({area.signature.kind for area in areas if area.signature}))
            why = f"; {'; '.join(self._damage)}" if self._damage else ""
            self.no_root = f"none of its partitions has a Linux file system (found: {held or 'nothing known'}{why})"
            return
        for rule in (self._by_files, self._by_type, self._by_flag):
            chosen = rule(candidates)
            if chosen is not None:
                self.root = chosen
                return
        if len(candidates) == 1:
            self.root = Root(candidates[0], "the only Linux file system on the disk")
            return
        numbers = ", ".join(area.volume or str(area.number) for area in candidates)
        damaged = f" ({'; '.join(self._damage)})" if self._damage else ""
        self.no_root = f"partitions {numbers} could each be the root file system{damaged}; state which"

    def _choose_whole(self) -> None:
        area = self.areas[None]
        if area.signature is not None and area.signature.kind in READABLE:
            self.root = Root(area, "the only file system, on the whole disk")
        else:
            kind = area.signature.kind if area.signature is not None else "nothing known"
            if gpt.is_announced(self.reader):
                kind += "; it has a GPT, but no protective MBR, without which no system uses it"
            self.no_root = f"it has neither partitions nor a Linux file system on the whole disk ({kind})"

    def _by_files(self, candidates: t.Sequence[Area]) -> Root | None:
        scores = {area: self._score(area) for area in candidates}
        best = max(scores.values())
        winners = [area for area in candidates if scores[area] == best]
        if best == 0 or len(winners) > 1:
            return None
        return Root(winners[0], f"it has {self._first_file(winners[0])}")

    def _score(self, area: Area) -> int:
        with contextlib.suppress(Unsupported):
            try:
                volume = self.volume(area)
                tree = Tree(volume) if volume is not None else None
                # A link counts though its target is on another partition.
                return sum(1 for path in _SYSTEM_FILES if tree is not None and tree.find(path, follow=False))
            except Damaged as exc:
                self._damage.append(f"{area.volume or f'partition {area.number}'}: {exc.message}")
        return 0

    def _first_file(self, area: Area) -> str:
        volume = self.volume(area)
        found = [path for path in _SYSTEM_FILES if volume is not None and Tree(volume).find(path, follow=False)]
        return found[0]

    def _by_type(self, candidates: t.Sequence[Area]) -> Root | None:
        typed = [area for area in candidates if self._type(area) in _ROOT_TYPES]
        return Root(typed[0], "its partition type says root") if len(typed) == 1 else None

    def _by_flag(self, candidates: t.Sequence[Area]) -> Root | None:
        flagged = [area for area in candidates if self._type(area) and self._partition(area).bootable]
        return Root(flagged[0], "it is marked bootable") if len(flagged) == 1 else None


def _areas(reader: Reader, table: Table) -> dict[int | None, Area]:
    if table.kind == "none":
        return {None: Area(None, 0, reader.size, probe.identify(reader))}
    areas: dict[int | None, Area] = {}
    for item in table.partitions:
        window = Window(reader, item.offset, item.size)
        signature = probe.identify(window) if item.role != "extended" else None
        areas[item.number] = Area(item.number, item.offset, item.size, signature)
    return areas


def explained(error: KvmError, name: str) -> KvmError:
    """The same error as a sentence about the image ``name``."""
    if name not in error.message:
        error.message = f"{name}: {error.message.rstrip('.')}."
    return error
