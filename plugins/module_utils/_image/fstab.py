# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: a guest's fstab and what names its devices elsewhere. Pure; every line that is not meant stays byte for byte.

Formats: fstab(5), crypttab(5), initramfs-tools' conf.d/resume, grub's /etc/default/grub.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

FSTAB = "/etc/fstab"
CRYPTTAB = "/etc/crypttab"
RESUME = "/etc/initramfs-tools/conf.d/resume"
GRUB = "/etc/default/grub"

# Unicode has more white space, of which labels may consist; here it separates nothing.
_ENTRY = re.compile(
    r"(?P<lead>[ \t]*)(?P<source>[^\s#]\S*)(?P<gap>[ \t]+)(?P<path>\S+)(?:[ \t]+(?P<type>\S+))?", re.ASCII
)
_ESCAPE = re.compile(r"\\([0-7]{3})")
_TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
_BY = re.compile(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)")
# A partition of the first disk of its kind, or the whole of it: where the image would be seen.
_FIRST = re.compile(r"/dev/(?:[shv]da|xvda)(?P<a>[0-9]*)|/dev/(?:nvme0n1|mmcblk0)(?:p(?P<b>[0-9]+))?")
_LOGICAL = re.compile(
    r"/dev/(?:mapper/[^/]+-[^/]+|disk/by-id/dm-(?:uuid-LVM|name)-.+|(?!disk/|mapper/|md/|shm/|bus/|block/|loop)[^/]+/[^/]+)"
)
_MAPPED = re.compile(r"/dev/mapper/(.+)")
# As the first word of the options, and after another one.
_RESUME = re.compile(r"(?<=[\"'=])resume=([^\s\"']+) *| +resume=([^\s\"']+)")
_BOOT_PATHS = ("/boot", "/boot/efi", "/efi")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of fstab that mounts something, with its escapes undone."""

    source: str
    path: str
    fstype: str


@dataclasses.dataclass(frozen=True)
class Device:
    """By what a partition (``number`` None: the whole disk) can be named: UUID and label of what it holds, UUID and name of
    the partition itself, paths of its own for a logical volume."""

    number: int | None
    uuid: str | None
    label: str | None
    partuuid: str | None
    partlabel: str | None
    paths: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Devices:
    """``root`` is the finished disk's root file system of the type ``root_type``. ``there`` are the
    devices of the finished disk, ``gone`` those that its source has beyond them."""

    root: Device
    root_type: str
    there: tuple[Device, ...]
    gone: tuple[Device, ...] = ()
    #: Whether the source has physical volumes of LVM and the result has none.
    lvm_gone: bool = False


def parse(text: str) -> list[Entry]:
    """The entries of an fstab."""
    found = (_ENTRY.match(line) for line in _lines(text))
    return [
        Entry(_plain(match["source"]), _plain(match["path"]), match["type"] or "")
        for match in found
        if match is not None
    ]


def names(source: str, device: Device) -> bool:
    """Whether fstab's first word (``UUID=...``, a path below /dev) names the device."""
    tag, value = _tag(source)
    if device.paths and source in device.paths:
        return True
    if tag is None:
        match = _FIRST.fullmatch(source)
        if match is None or device.paths:
            return False
        number = match["a"] or match["b"]
        return (int(number) if number else None) == device.number
    wanted = {"UUID": device.uuid, "LABEL": device.label, "PARTUUID": device.partuuid, "PARTLABEL": device.partlabel}[
        tag
    ]
    if wanted is None:
        return False
    return value == wanted if tag in ("LABEL", "PARTLABEL") else value.lower() == wanted.lower()


def is_gone(source: str, path: str, fstype: str, devices: Devices) -> bool:
    """Whether an entry waits for a device that is not on the finished disk.

    A device that the source has and the result has not is gone. Of those that neither has, swap and the boot partitions
    are: they are never on another disk. What else is unknown may well be on another disk, and stays.
    """
    if any(names(source, device) for device in devices.there):
        return False
    if any(names(source, device) for device in devices.gone):
        return True
    tag, _value = _tag(source)
    if tag is None:
        return _FIRST.fullmatch(source) is not None or (devices.lvm_gone and _LOGICAL.fullmatch(source) is not None)
    return fstype == "swap" or path in _BOOT_PATHS


def rewrite(text: str, root: str, devices: Devices, mapped_gone: t.Collection[str] = ()) -> str:
    """fstab with / mounted from ``root`` (``LABEL=name``) and with the entries commented out whose device is gone.

    ``mapped_gone`` are names below /dev/mapper that crypttab no longer opens.
    """
    lines, found = [], False
    for line in _lines(text):
        match = _ENTRY.match(line)
        if match is None:
            lines.append(line)
            continue
        source, path = _plain(match["source"]), _plain(match["path"])
        if path == "/" and not found:
            found = True
            lines.append(f"{line[: match.start('source')]}{escaped(root)}{line[match.end('source') :]}")
            continue
        mapped = _MAPPED.fullmatch(source)
        gone = mapped is not None and mapped[1] in mapped_gone
        lines.append(f"#{line}" if gone or is_gone(source, path, match["type"] or "", devices) else line)
    if not found:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{escaped(root)} / {devices.root_type} defaults 0 1\n")
    return "".join(lines)


def crypttab(text: str, devices: Devices) -> tuple[str, list[str]]:
    """crypttab with the lines commented out whose device is gone, and the names that they would have opened."""
    lines, closed = [], []
    for line in _lines(text):
        words = line.split()
        gone = False
        if len(words) >= 2 and not words[0].startswith("#"):
            swap = len(words) > 3 and "swap" in words[3].split(",")
            gone = is_gone(_plain(words[1]), "", "swap" if swap else "", devices)
        if gone:
            closed.append(words[0])
        lines.append(f"#{line}" if gone else line)
    return "".join(lines), closed


def resume(text: str, devices: Devices) -> str:
    """initramfs-tools' resume setting with a device that is gone replaced by ``none``."""

    def replace(match: re.Match[str]) -> str:
        value = match[2].strip("\"'")
        return f"{match[1]}none" if is_gone(value, "", "swap", devices) else match[0]

    return re.sub(r"(?m)^([ \t]*(?:export[ \t]+)?RESUME=)(\S+)", replace, text)


def grub(text: str, devices: Devices) -> str:
    """grub's defaults without the kernel options ``resume=`` whose device is gone."""

    def replace(match: re.Match[str]) -> str:
        return "" if is_gone(match[1] or match[2], "", "swap", devices) else match[0]

    return "".join(
        _RESUME.sub(replace, line) if re.match(r"\s*(?:export\s+)?GRUB_CMDLINE_LINUX\w*=", line) else line
        for line in _lines(text)
    )


def escaped(word: str) -> str:
    """A word as it stands in fstab: white space and backslashes by their octal numbers."""
    return re.sub(r"[\s\\#]", lambda match: f"\\{ord(match[0]):03o}", word, flags=re.ASCII)


def _lines(text: str) -> list[str]:
    """The lines with their ends. Only a line feed ends one, whatever else Unicode knows."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _plain(word: str) -> str:
    text = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), word)
    return re.sub(r"=([\"'])(.*)\1$", r"=\2", text)


def _tag(source: str) -> tuple[str | None, str]:
    by = _BY.fullmatch(source)
    if by is not None:
        # udev writes what is no plain character in a name as \xNN.
        value = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), by[2])
        return by[1].upper(), value
    name, sign, value = source.partition("=")
    return (name.upper(), value) if sign and name.upper() in _TAGS else (None, source)
