# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the kinds of values that options have, each with its normal form. Pure.

What is stated and what libvirt has in its document are brought into the same form, so that `1-3,^2` and `1,3`, or
`0x0a` and `10`, are no difference.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PCI = re.compile(r"(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])")
_KIB = 1024
#: libvirt's limit for lists of processors and memory nodes.
_MOST_CPUS = 16384


@dataclasses.dataclass(frozen=True)
class Shape:
    """A kind of value. ``option`` describes it to Ansible; ``parse(what, value)`` turns what is stated into the normal
    form (raises InvalidSpec, ``what`` names the option); ``load`` and ``dump`` are for the text in the document."""

    option: t.Mapping[str, t.Any]
    parse: t.Callable[[str, t.Any], t.Any] = lambda _what, value: value
    load: t.Callable[[str], t.Any] = str
    dump: t.Callable[[t.Any], str] = str

    def loaded(self, text: str) -> t.Any:
        """The normal form of text in a document; as it is when nobody can read it."""
        try:
            return self.load(text)
        except (ValueError, InvalidSpec):
            return text


TEXT = Shape({"type": "str"})
#: Something whose name looks like that of a secret, and is none.
PUBLIC = Shape({"type": "str", "no_log": False})


def words(*choices: str) -> Shape:
    """One of a few words."""
    return Shape({"type": "str", "choices": list(choices)})


def _line(what: str, value: t.Any) -> t.Any:
    if "\n" in value or "\r" in value:
        raise InvalidSpec(f"{what} has to be one line.")
    return value


LINE = Shape({"type": "str"}, _line)


def _path(what: str, value: t.Any) -> t.Any:
    if not value.startswith("/") or "\n" in value:
        raise InvalidSpec(f"{what} has to be an absolute path, not '{value}'.")
    return value


PATH = Shape({"type": "path"}, _path)


def matching(pattern: str, wanted: str) -> Shape:
    """Text of a certain form; ``wanted`` says in words which."""

    def parse(what: str, value: t.Any) -> t.Any:
        if not re.fullmatch(pattern, value):
            raise InvalidSpec(f"{what}: '{value}' is no {wanted}.")
        return value

    return Shape({"type": "str"}, parse)


def _yes(value: t.Any) -> str:
    return "yes" if value else "no"


def _on(value: t.Any) -> str:
    return "on" if value else "off"


#: libvirt has two words for a boolean, and which one depends on the place.
YES_NO = Shape({"type": "bool"}, load=lambda text: text == "yes", dump=_yes)
ON_OFF = Shape({"type": "bool"}, load=lambda text: text == "on", dump=_on)
ONE_ZERO = Shape({"type": "bool"}, load=lambda text: text in ("1", "yes"), dump=lambda value: "1" if value else "0")


def number(least: int = 0, most: int | None = None) -> Shape:
    """A whole number."""

    def parse(what: str, value: t.Any) -> t.Any:
        if value < least or (most is not None and value > most):
            reach = f"{least} or more" if most is None else f"{least} to {most}"
            raise InvalidSpec(f"{what} of {value} is impossible; {reach}.")
        return value

    return Shape({"type": "int"}, parse, lambda text: int(text, 0))


def hexadecimal(digits: int, most: int | None = None) -> Shape:
    """A whole number that libvirt writes with ``digits`` hexadecimal ones; stated as ``0x1f`` or as ``31``."""
    limit = 16**digits - 1 if most is None else most

    def parse(what: str, value: t.Any) -> t.Any:
        try:
            found = int(str(value), 0)
        except ValueError as exc:
            raise InvalidSpec(f"{what}: '{value}' is no number; write it like 0x1f or 31.") from exc
        if not 0 <= found <= limit:
            raise InvalidSpec(f"{what} of {value} is impossible; 0 to {limit:#x}.")
        return found

    return Shape({"type": "str"}, parse, lambda text: int(text, 0), lambda value: f"0x{value:0{digits}x}")


def size(unit: str = "MiB", document_unit: str = "B", least: int = 0) -> Shape:
    """A size in bytes. ``unit`` is that of a bare number in the declaration, ``document_unit`` that of the document."""
    factor = parse_size(1, "unit", document_unit)

    def parse(what: str, value: t.Any) -> t.Any:
        found = -(-parse_size(value, what, unit) // factor) * factor
        if found < least:
            raise InvalidSpec(f"{what} of {value} is too small; a bare number is in {unit}.")
        return found

    return Shape({"type": "str"}, parse, lambda text: int(text) * factor, lambda value: str(value // factor))


def _numbers(text: str) -> set[int]:
    """``1-4,^3,6`` as libvirt reads it, one part after the other."""
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\^?)([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if match is None or (match.group(1) and match.group(3)):
            raise ValueError(part)
        first = int(match.group(2))
        last = int(match.group(3) or first)
        if last < first or last >= _MOST_CPUS:
            raise ValueError(part)
        if match.group(1):
            found.discard(first)
        else:
            found.update(range(first, last + 1))
    return found


def numbers(text: str) -> list[int]:
    """The members of a normal list of numbers (``1-2,4``)."""
    return sorted(_numbers(text))


def _ranges(text: str) -> str:
    """The normal form of a list of numbers: sorted, without overlaps or exclusions."""
    found = sorted(_numbers(text))
    ranges: list[list[int]] = []
    for item in found:
        if ranges and ranges[-1][1] == item - 1:
            ranges[-1][1] = item
        else:
            ranges.append([item, item])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _parse_ranges(what: str, value: t.Any) -> t.Any:
    try:
        found = _ranges(value)
    except ValueError as exc:
        raise InvalidSpec(
            f"{what}: '{value}' is no list of numbers; write it like 0-3,^2,6 (0 to {_MOST_CPUS - 1})."
        ) from exc
    if not found:
        raise InvalidSpec(f"{what}: '{value}' names nothing at all.")
    return found


#: Processors or memory nodes of the host, or virtual ones of the guest.
RANGES = Shape({"type": "str"}, _parse_ranges, _ranges)


def _parse_uuid(what: str, value: t.Any) -> t.Any:
    try:
        return str(uuid.UUID(value))
    except ValueError as exc:
        raise InvalidSpec(f"{what}: '{value}' is no UUID.") from exc


UUID = Shape({"type": "str", "no_log": False}, _parse_uuid, lambda text: str(uuid.UUID(text.strip())))


def _quoted(value: str) -> str:
    """YAML reads some addresses as numbers to the base of 60."""
    return ", in quotes, for YAML has made a number of it" if re.fullmatch(r"[0-9.]+", value) else ""


def _parse_mac(what: str, value: t.Any) -> t.Any:
    mac = value.lower()
    if not _MAC.fullmatch(mac):
        raise InvalidSpec(
            f"{what}: '{value}' is no MAC address; six pairs of hexadecimal digits with colons{_quoted(mac)}."
        )
    if int(mac[:2], 16) & 1:
        raise InvalidSpec(f"{what}: {mac} is a multicast MAC address; an interface needs a unicast one.")
    return mac


def mac_text(text: str) -> str:
    """The normal form of a MAC address in a document: libvirt takes ``52:54:0:A:B:C`` too."""
    return ":".join(part.zfill(2) for part in text.lower().split(":"))


MAC = Shape({"type": "str"}, _parse_mac, mac_text)


def _parse_address(what: str, value: t.Any) -> t.Any:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as exc:
        raise InvalidSpec(f"{what}: '{value}' is no IP address.") from exc


IP = Shape({"type": "str"}, _parse_address, lambda text: str(ipaddress.ip_address(text)))


def pci_parts(what: str, value: str) -> tuple[int, int, int, int]:
    """Domain, bus, slot and function of ``0000:03:00.0``."""
    match = _PCI.fullmatch(value.lower())
    if match is None:
        raise InvalidSpec(f"{what}: '{value}' is no PCI address; write it like 0000:03:00.0{_quoted(value)}.")
    domain, bus, slot, function = (int(part or "0", 16) for part in match.groups())
    if slot > 31:
        raise InvalidSpec(f"{what}: '{value}' has a slot above 1f.")
    return domain, bus, slot, function


def pci_text(domain: int, bus: int, slot: int, function: int) -> str:
    """The normal form of a PCI address."""
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


PCI = Shape({"type": "str"}, lambda what, value: pci_text(*pci_parts(what, value)))
