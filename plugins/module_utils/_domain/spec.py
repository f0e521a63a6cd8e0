# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import given, rules, wait_for
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import wish
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Wishes
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices import character
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.once import Once
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.options import cpu, tuning
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import SCALARS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import UUID
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import stated
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.wait_for import Wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

_NAME = re.compile(r"[^\x00-\x1f\x7f/\ud800-\udfff]+")
#: A file's name has up to 255, and libvirt puts an ending to it.
_LONGEST_NAME = 248
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
#: What no encoding has.
_HALVES = re.compile(r"[\ud800-\udfff]")
#: The options that are XML.
_XML = ("xml", "extra_xml", "metadata")
#: Of a longer text a message shows so much.
_LONG = 80


@dataclasses.dataclass(frozen=True)
class Definition:
    """What a domain is: options by dotted name (``os.kernel``), and devices by kind, each with its stated values.

    Sizes are bytes. Wanted: ``devices`` has a kind only when it is stated. Read: every kind, keyed by label.
    """

    scalars: Values = dataclasses.field(default_factory=dict)
    devices: dict[str, tuple[Values, ...]] = dataclasses.field(default_factory=dict)
    #: A whole document, instead of options; then pieces of one, beside either.
    document: str | None = None
    fragments: tuple[str, ...] = ()
    #: What is wanted of disks that no definition has.
    wishes: Wishes = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.scalars or self.devices or self.document or self.fragments)


@dataclasses.dataclass(frozen=True)
class DomainSpec:
    """A domain. ``definition`` without anything in it leaves what is defined as it is.

    ``type`` is ``auto``, ``kvm`` or ``qemu``; ``remove_disks`` are targets; ``stop_timeout`` is in seconds.
    ``transient`` None leaves a domain without a definition as it is, unless something about it needs one.
    """

    name: str
    state: str = "running"
    type: str = "auto"
    restart: str = "never"
    recreate: bool = False
    autostart: bool | None = None
    transient: bool | None = None
    managed_save: str = "restore"
    definition: Definition = dataclasses.field(default_factory=Definition)
    stop_timeout: float = 120
    force_stop: bool = False
    remove_disks: tuple[str, ...] = ()
    wait: Wait = dataclasses.field(default_factory=Wait)
    #: What no other domain of the call may have, by kind.
    owns: tuple[tuple[str, str], ...] = ()


def parse(params: dict[str, t.Any]) -> DomainSpec:
    """The options of one domain to its specification; raises InvalidSpec with a sentence that names the domain."""
    name = params["name"]
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidSpec(f"domain name '{name}': no slashes and no control characters, please.")
    if len(name.encode()) > _LONGEST_NAME:
        raise InvalidSpec(
            f"domain name '{name}': libvirt names files after it, so no more than {_LONGEST_NAME} bytes, please."
        )
    stated = params.get("type")
    definition = _definition(name, params)
    spec = DomainSpec(
        name=name,
        state=params.get("state") or "running",
        type=stated or "auto",
        restart=params.get("restart") or "never",
        recreate=bool(params.get("recreate")),
        autostart=params.get("autostart"),
        transient=params.get("transient"),
        managed_save=params.get("managed_save") or "restore",
        definition=definition,
        stop_timeout=_seconds(name, "stop_timeout", params.get("stop_timeout"), 120),
        force_stop=bool(params.get("force_stop")),
        remove_disks=tuple(params.get("remove_disks") or ()),
        wait=wait_for.parse(
            name, params.get("wait_for"), _seconds(name, "wait_timeout", params.get("wait_timeout"), 300)
        ),
        owns=tuple(_own(definition)) if params.get("state") != "absent" else (),
    )
    _check_transient(f"domain {name}", spec)
    rules.check(f"domain {name}", spec.definition.scalars, spec.definition.devices)
    return spec


def _definition(name: str, params: dict[str, t.Any]) -> Definition:
    what = f"domain {name}"
    for option, value in params.items():
        # What characters XML may have, such as the line ends of another system, its parser knows.
        _check_text(what, value, _HALVES if option in _XML else _CONTROL)
    devices: dict[str, tuple[Values, ...]] = {}
    for kind in KINDS:
        entries = _entries(what, kind, params)
        if entries is not None:
            devices[kind.option] = _devices(what, kind, entries)
    scalars = _scalars(what, params)
    character.settle_consoles(what, devices, params.get("type"), scalars.get("os.type"))
    wishes = wish.taken(devices.get("disks", ()))
    wish.check_together(what, devices.get("disks", ()), wishes)
    document = params.get("xml")
    if document is not None:
        stated = [*dict.fromkeys(option.partition(".")[0] for option in scalars), *devices]
        if stated:
            raise InvalidSpec(
                f"{what}: xml says all of what it is, so leave out {', '.join(stated)} (or state extra_xml)."
            )
        document = given.document(what, name, document)
    return Definition(scalars, devices, document, given.fragments(what, params.get("extra_xml")), wishes)


def _entries(what: str, kind: Kind, params: dict[str, t.Any]) -> list[dict[str, t.Any]] | None:
    """What is stated of a kind of device; None when nothing is."""
    entries = params.get(kind.option)
    several = None if kind.several is None else params.get(kind.several)
    if entries is not None and several is not None:
        raise InvalidSpec(f"{what}: {kind.option} is a list of one in {kind.several}; state one of the two options.")
    return several if entries is None else [entries] if kind.single else list(entries)


def _check_text(what: str, value: t.Any, refused: re.Pattern[str]) -> None:
    """A document can hold any text but control characters; they would end in an error that nobody understands."""
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            # Most options are not stated.
            if item is not None:
                _check_text(what, item, refused)
    elif isinstance(value, str) and refused.search(value):
        shown = value if len(value) <= _LONG else f"{value[:_LONG]}..."
        raise InvalidSpec(f"{what}: {shown!r} has control characters in it; remove them.")


#: Devices by what was given; what it is called matters for errors only.
_PARSED: Once[Values] = Once(1024)


def _device(what: str, kind: Kind, index: int, entry: t.Any) -> Values:
    stated = entry
    if isinstance(entry, dict):
        stated = {option: value for option, value in entry.items() if value is not None}
    found = _PARSED.get((kind.option, index, stated), lambda: kind.parse(what, index, stated))
    # A copy, for what no document has is taken out of it.
    return dict(found)


def _devices(what: str, kind: Kind, entries: t.Sequence[dict[str, t.Any]]) -> tuple[Values, ...]:
    devices = tuple(_device(what, kind, index, entry) for index, entry in enumerate(entries))
    if kind.identity is not None:
        keys = [kind.key(device) for device in devices if kind.identity in device]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise InvalidSpec(f"{what}: two of {kind.option} have the {kind.identity} {twice[0]}; each needs its own.")
    if kind.first is not None:
        first = kind.first
        devices = tuple(sorted(devices, key=lambda device: not device.get(first)))
    return devices


def _scalars(what: str, params: dict[str, t.Any]) -> Values:
    values = stated(f"{what}: ", SCALARS, params)
    if values.get("type") == "auto":
        # Decided when the host is known.
        del values["type"]
    if values.get("os.boot") == []:
        del values["os.boot"]
    if "cpu.model" in values:
        # Of the other modes none has one.
        values.setdefault("cpu.mode", "custom")
    if "sysinfo.system.uuid" in values and "uuid" not in values:
        # The guest's table says the same, and libvirt has no other in it.
        values["uuid"] = UUID.parse(f"{what}: sysinfo.system.uuid", values["sysinfo.system.uuid"])
    tuning.complete(values)
    cpu.complete(what, values)
    return values


def _seconds(name: str, option: str, value: t.Any, default: float) -> float:
    if value is None:
        return default
    if value < 0:
        raise InvalidSpec(f"domain {name}: {option} of {value} s is impossible; 0 or more.")
    return float(value)


def _check_transient(what: str, spec: DomainSpec) -> None:
    if not spec.transient:
        return
    if spec.state not in ("running", "paused", "absent"):
        raise InvalidSpec(
            f"{what}: it cannot be {spec.state} and transient, for a transient domain is there only while it runs;"
            " say state absent to end it, or leave transient out to keep its definition."
        )
    if spec.autostart:
        raise InvalidSpec(
            f"{what}: a transient domain has no definition that could start with the host; drop autostart."
        )


def check_together(specs: t.Sequence[DomainSpec]) -> None:
    """Two domains of one call must share neither a MAC address, nor a UUID, nor a disk that both write."""
    seen: dict[tuple[str, str], str] = {}
    for spec in specs:
        for kind, value in spec.owns:
            other = seen.setdefault((kind, value), spec.name)
            if other != spec.name:
                raise InvalidSpec(f"domains {other} and {spec.name}: both have the {kind} {value}; give each its own.")


def _own(definition: Definition) -> t.Iterator[tuple[str, str]]:
    stated_uuid = definition.scalars.get("uuid")
    if definition.document is not None:
        stated_uuid = _xml.find_text(_xml.parse(definition.document), "uuid")
    if stated_uuid is not None:
        yield "uuid", stated_uuid.lower()
    for interface in definition.devices.get("interfaces", ()):
        if "mac" in interface:
            yield "MAC address", interface["mac"]
    for disk in definition.devices.get("disks", ()):
        alone = not disk.get("readonly") and not disk.get("shareable") and not disk.get("transient")
        if disk.get("type") in ("file", "block", "volume") and disk.get("device", "disk") in ("disk", "lun") and alone:
            yield "disk", "/".join(disk[key] for key in ("pool", "source") if key in disk)
    for wanted in definition.wishes.values():
        if wanted.mirror is not None:
            yield "disk", wanted.mirror.path
