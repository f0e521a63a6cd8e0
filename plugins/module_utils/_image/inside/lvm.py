# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: logical volumes of LVM2, as installers put the root file system on one.

The meaning of the descriptions is that of LVM2's lib/format_text/import_vsn1.c; sizes in them are in sectors of 512 bytes.
"""

from __future__ import annotations

import bisect
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import lvm_label
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.blocks import Reader, exactly
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.lvm_label import SECTOR, Group, Physical
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.lvm_text import Section
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import clean

_LARGEST = (1 << 63) - 1
# What has a name, but is no device that anything could be on.
_INTERNAL = ("snapshot", "thin-pool", "cache-pool", "vdo-pool")


@dataclasses.dataclass(frozen=True)
class LogicalVolume:
    """A logical volume. ``size`` is in bytes, as lvs shows it.

    ``reader`` are its bytes, None where they cannot be read here; ``problem`` then says why (a sentence without its dot).
    ``pv`` is the number of the area that has its first bytes (None: the whole disk, or no reader), ``contiguous`` that
    number and the offset in the area in bytes, where all of it is in one piece.
    """

    vg: str
    name: str
    uuid: str
    vg_uuid: str
    size: int
    pv: int | None = None
    reader: Reader | None = None
    contiguous: tuple[int | None, int] | None = None
    problem: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The paths that fstab can name it by: those of ``names``, and the one by its UUID that Ubuntu's installer writes."""
        plain = (self.vg_uuid + self.uuid).replace("-", "")
        return (*names(self.vg, self.name), f"/dev/disk/by-id/dm-uuid-LVM-{plain}")


def names(vg: str, lv: str) -> tuple[str, ...]:
    """The paths of a logical volume that follow from its name, the one that installers write into fstab first."""
    mapped = f"{vg.replace('-', '--')}-{lv.replace('-', '--')}"
    return f"/dev/mapper/{mapped}", f"/dev/{vg}/{lv}", f"/dev/disk/by-id/dm-name-{mapped}"


def volumes(parts: t.Mapping[int | None, Reader]) -> list[LogicalVolume]:
    """The logical volumes on a disk, group by group in the order of their description; internal ones are left out.

    ``parts`` are the disk's areas by their partition numbers, None for the whole disk; those without a label of LVM2 are
    passed over. A member of a RAID can have one that is not its own: leave such areas out. Raises Damaged where a label, a
    group or a volume contradicts itself, Unsupported for descriptions of a kind or length that is not read here.
    """
    physical = lvm_label.find(parts)
    newest: dict[str, Group] = {}
    for item in physical:
        group = item.group
        if group is not None and (group.uuid not in newest or group.seqno > newest[group.uuid].seqno):
            newest[group.uuid] = group
    by_uuid: dict[str, list[Physical]] = {}
    for item in physical:
        by_uuid.setdefault(item.uuid, []).append(item)
    seen = [_Seen(group, by_uuid) for group in newest.values()]
    known = {item.uuid for view in seen for item in view.stores.values()}
    for item in physical:
        # Another volume of the group may have what is damaged on this one.
        if item.problem is not None and item.uuid not in known:
            raise item.problem
    return [volume for view in seen for volume in view.volumes()]


class _Run(t.NamedTuple):
    """Bytes of a logical volume from ``start`` on: ``size`` of them, at ``offset`` of the area ``number``."""

    start: int
    size: int
    number: int | None
    reader: Reader
    offset: int


class _Joined:
    """A reader of bytes that lie in several places; ``runs`` follow each other without a gap."""

    def __init__(self, runs: t.Sequence[_Run]) -> None:
        self._runs = runs
        self._starts = [run.start for run in runs]
        self.size = runs[-1].start + runs[-1].size

    def read(self, offset: int, length: int) -> bytes:
        """See Reader."""
        length = max(0, min(length, self.size - offset))
        index = bisect.bisect_right(self._starts, offset) - 1
        pieces = []
        while length > 0 and index >= 0:
            run = self._runs[index]
            skipped = offset - run.start
            size = min(length, run.size - skipped)
            # A short piece in the middle would move all that follows.
            pieces.append(exactly(run.reader, run.offset + skipped, size, "a part of the logical volume"))
            offset, length, index = offset + size, length - size, index + 1
        return b"".join(pieces)


@dataclasses.dataclass(frozen=True)
class _Store:
    """A physical volume as its group describes it: sizes in bytes, ``count`` in extents; ``problem``: why its bytes are not there."""

    uuid: str
    start: int
    count: int
    disk: Physical | None
    problem: str | None


class _Segment(t.NamedTuple):
    """Extents of a logical volume from ``start`` on. ``stripes`` are the names of what they lie on and the first extent
    there; ``kind`` is LVM2's word."""

    start: int
    extents: int
    kind: str
    stripes: tuple[tuple[str, int], ...]
    section: Section


class _Seen:
    """A volume group, seen from one disk."""

    def __init__(self, group: Group, physical: t.Mapping[str, t.Sequence[Physical]]) -> None:
        self._group = group
        self._extent = group.section.number("extent_size") * SECTOR
        if not self._extent:
            raise Damaged(f"{group.section.what} says that its extents have no size")
        listed = group.section.section("physical_volumes").sections()
        self.stores = {name: self._store(section, physical) for name, section in listed.items()}

    def volumes(self) -> list[LogicalVolume]:
        """Its logical volumes that are not internal."""
        top = self._group.section
        listed = top.section("logical_volumes").sections() if "logical_volumes" in top.values else {}
        parts = {name: self._segments(name, section) for name, section in listed.items()}
        self._check_overlaps(parts)
        problems = _snapshots(parts)
        return [
            self._volume(name, section, parts[name], problems.get(name))
            for name, section in listed.items()
            if self._is_shown(section, parts[name]) or problems.get(name)
        ]

    def _store(self, section: Section, physical: t.Mapping[str, t.Sequence[Physical]]) -> _Store:
        own = lvm_label.uuid(section.text("id"), section.what)
        start, count = section.number("pe_start", _LARGEST // SECTOR) * SECTOR, section.number("pe_count")
        # A volume that a group has lost may belong to another one since.
        there = [item for item in physical.get(own, []) if item.group is None or item.group.uuid == self._group.uuid]
        problem = None
        if not there:
            problem = f"its physical volume {own} is not on this disk"
        elif len(there) > 1:
            problem = f"there are {len(there)} physical volumes {own} on this disk"
        elif "MISSING" in section.items("flags"):
            problem = f"its physical volume {own} has been missing, and its data are old"
        elif start + count * self._extent > there[0].reader.size:
            where = lvm_label.place(there[0].number)
            raise Damaged(f"the physical volume on {where} is larger than its place (is the image cut off?)")
        return _Store(own, start, count, None if problem else there[0], problem)

    def _segments(self, name: str, section: Section) -> list[_Segment]:
        section.what = f"the logical volume {self._group.name}/{lvm_label.valid_name(name, 'a logical volume')}"
        found = [_segment(section.what, part) for part in section.sections().values()]
        found.sort(key=lambda item: item.start)
        if len(found) != section.number("segment_count"):
            raise Damaged(f"{section.what} has {len(found)} segments, but says otherwise")
        expected = 0
        for item in found:
            if item.start != expected:
                raise Damaged(f"{section.what} has a gap or an overlap at its extent {min(expected, item.start)}")
            expected += item.extents
        if expected * self._extent > _LARGEST:
            raise Damaged(f"{section.what} is said to be {expected * self._extent} bytes large")
        return found

    def _check_overlaps(self, parts: t.Mapping[str, t.Sequence[_Segment]]) -> None:
        """No extent of a physical volume has two owners, and all of them are on it."""
        used: dict[str, list[tuple[int, int, str]]] = {}
        for name, segments in parts.items():
            for item in segments:
                for store, first in item.stripes:
                    used.setdefault(store, []).append((first, item.extents // len(item.stripes), name))
        for store, ranges in used.items():
            if store not in self.stores:
                continue
            end, owner = 0, ""
            for first, count, name in sorted(ranges):
                if first < end:
                    raise Damaged(f"the logical volumes {owner} and {name} of {self._group.name} overlap")
                end, owner = first + count, name
            if end > self.stores[store].count:
                raise Damaged(
                    f"the logical volume {self._group.name}/{owner} goes beyond the end of {clean(store[:64])}"
                )

    def _is_shown(self, section: Section, segments: t.Sequence[_Segment]) -> bool:
        visible = "VISIBLE" in section.items("status")
        return visible and not any(item.kind in _INTERNAL for item in segments)

    def _volume(
        self, name: str, section: Section, segments: t.Sequence[_Segment], problem: str | None
    ) -> LogicalVolume:
        own = lvm_label.uuid(section.text("id"), section.what)
        size = sum(item.extents for item in segments) * self._extent
        plain = LogicalVolume(self._group.name, name, own, self._group.uuid, size)
        problem = problem or next(filter(None, map(self._problem, segments)), None if segments else "it has no extents")
        if problem is not None:
            return dataclasses.replace(plain, problem=problem)
        runs = self._runs(segments)
        whole = (runs[0].number, runs[0].offset) if len(runs) == 1 else None
        return dataclasses.replace(plain, pv=runs[0].number, reader=_Joined(runs), contiguous=whole)

    def _problem(self, item: _Segment) -> str | None:
        """Why a segment cannot be read here; None when it can."""
        if item.kind != "striped":
            return f"it is of the type {clean(item.kind[:64])}, which is not read here"
        if len(item.stripes) > 1:
            return f"it is striped over {len(item.stripes)} physical volumes, which is not read here"
        on = item.stripes[0][0]
        if on not in self.stores:
            return f"it lies on {clean(on[:64])}, which is not a physical volume (is it being moved?)"
        return self.stores[on].problem

    def _runs(self, segments: t.Sequence[_Segment]) -> list[_Run]:
        """Where the bytes of readable segments are, in as few pieces as possible."""
        runs: list[_Run] = []
        for item in segments:
            store = self.stores[item.stripes[0][0]]
            disk = t.cast(Physical, store.disk)
            offset = store.start + item.stripes[0][1] * self._extent
            last = runs[-1] if runs else None
            if last is not None and (last.number, last.offset + last.size) == (disk.number, offset):
                runs[-1] = last._replace(size=last.size + item.extents * self._extent)
            else:
                start = item.start * self._extent
                runs.append(_Run(start, item.extents * self._extent, disk.number, disk.reader, offset))
        return runs


def _segment(what: str, section: Section) -> _Segment:
    section.what = f"a segment of {what}"
    start, count = section.number("start_extent"), section.number("extent_count")
    if not count:
        raise Damaged(f"{section.what} has no extents")
    kind = section.text("type") if "type" in section.values else "striped"
    # lvcreate(8) calls a segment of one stripe so.
    kind = "striped" if kind == "linear" else kind
    return _Segment(start, count, kind, _stripes(section, count) if kind == "striped" else (), section)


def _stripes(section: Section, count: int) -> tuple[tuple[str, int], ...]:
    items, number = section.items("stripes"), section.number("stripe_count")
    stripes = [(on, first) for on, first in zip(items[::2], items[1::2]) if isinstance(on, str)]
    found = tuple((on, first) for on, first in stripes if isinstance(first, int) and 0 <= first < 1 << 32)
    if not number or not len(found) * 2 == number * 2 == len(items) or count % number:
        raise Damaged(f"{section.what} has stripes that do not match their number")
    return found


def _snapshots(parts: t.Mapping[str, t.Sequence[_Segment]]) -> dict[str, str]:
    """What cannot be read because of a snapshot: what holds its differences, and what one is being merged into."""
    found = {}
    for segments in parts.values():
        for item in segments:
            if item.kind != "snapshot":
                continue
            origin = item.section.text("origin")
            merging = "merging_store" in item.section.values
            found[item.section.text("merging_store" if merging else "cow_store")] = (
                f"it is a snapshot of {clean(origin[:64])}, which is not read here"
            )
            if merging:
                found[origin] = "a snapshot is being merged into it"
    return found
