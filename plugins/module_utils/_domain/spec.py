# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import uuid

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import NAMES
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

_NAME = re.compile(r"[^\x00-\x1f\x7f/]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_WAITS = ("agent", "ssh")


@dataclasses.dataclass(frozen=True)
class Definition:
    """What a domain is: options by dotted name (``os.kernel``), and devices by kind, each with its stated values.

    Sizes are bytes. Wanted: ``devices`` has a kind only when it is stated. Read: every kind, keyed by label.
    """

    scalars: Values = dataclasses.field(default_factory=dict)
    devices: dict[str, tuple[Values, ...]] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.scalars or self.devices)


@dataclasses.dataclass(frozen=True)
class Wait:
    """What to wait for; ``ssh_address`` when the guest's address is known beforehand. Time in seconds."""

    agent: bool = False
    ssh: bool = False
    ssh_address: str | None = None
    ssh_port: int = 22
    timeout: float = 300

    def __bool__(self) -> bool:
        return self.agent or self.ssh


@dataclasses.dataclass(frozen=True)
class DomainSpec:
    """A domain. ``definition`` without anything in it leaves what is defined as it is.

    ``type`` is ``auto``, ``kvm`` or ``qemu``; ``remove_disks`` are targets; ``stop_timeout`` is in seconds.
    """

    name: str
    state: str = "running"
    type: str = "auto"
    restart: str = "never"
    autostart: bool | None = None
    definition: Definition = dataclasses.field(default_factory=Definition)
    stop_timeout: float = 120
    force_stop: bool = False
    remove_disks: tuple[str, ...] = ()
    wait: Wait = dataclasses.field(default_factory=Wait)


def parse(params: dict[str, t.Any]) -> DomainSpec:
    """The options of one domain to its specification; raises InvalidSpec with a sentence that names the domain."""
    name = params["name"]
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidSpec(f"domain name '{name}': no slashes and no control characters, please.")
    stated = params.get("type")
    spec = DomainSpec(
        name=name,
        state=params.get("state") or "running",
        type=stated or "auto",
        restart=params.get("restart") or "never",
        autostart=params.get("autostart"),
        definition=_definition(name, params),
        stop_timeout=_seconds(name, "stop_timeout", params.get("stop_timeout"), 120),
        force_stop=bool(params.get("force_stop")),
        remove_disks=tuple(params.get("remove_disks") or ()),
        wait=_wait(name, params),
    )
    _check(spec)
    return spec


def _definition(name: str, params: dict[str, t.Any]) -> Definition:
    what = f"domain {name}"
    _check_text(what, params)
    devices = {}
    for kind in KINDS:
        entries = params.get(kind.option)
        if entries is not None:
            devices[kind.option] = _devices(what, kind, [entries] if kind.single else entries)
    return Definition(_scalars(what, params), devices)


def _check_text(what: str, value: t.Any) -> None:
    """A document can hold any text but control characters; they would end in an error that nobody understands."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_text(what, item)
    elif isinstance(value, str) and _CONTROL.search(value):
        raise InvalidSpec(f"{what}: {value!r} has control characters in it; remove them.")


def _devices(what: str, kind: Kind, entries: t.Sequence[dict[str, t.Any]]) -> tuple[Values, ...]:
    devices = tuple(kind.parse(what, index, entry) for index, entry in enumerate(entries))
    if kind.identity is not None:
        keys = [device[kind.identity] for device in devices if kind.identity in device]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise InvalidSpec(f"{what}: two of {kind.option} have the {kind.identity} {twice[0]}; each needs its own.")
    return devices


def _scalars(what: str, params: dict[str, t.Any]) -> Values:
    values: Values = {}
    for dotted in NAMES:
        head, _dot, tail = dotted.partition(".")
        value = params.get(head)
        if tail:
            value = (value or {}).get(tail)
        # The type "auto" is decided when the host is known.
        if value is not None and (dotted, value) != ("type", "auto"):
            values[dotted] = value
    for name in ("memory", "current_memory"):
        if name in values:
            values[name] = _memory(what, name, values[name])
    if "uuid" in values:
        values["uuid"] = _uuid(what, values["uuid"])
    if values.get("os.boot") == []:
        del values["os.boot"]
    # An empty text is no text: libvirt keeps none either.
    return {name: value for name, value in values.items() if value != ""}


def _memory(what: str, name: str, value: t.Any) -> int:
    size = parse_size(value, f"{what}: {name}", "MiB")
    if size < 1024 * 1024:
        raise InvalidSpec(f"{what}: {name} of {value} is too small for any guest; a bare number is in MiB.")
    return -(-size // 1024) * 1024


def _uuid(what: str, value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as exc:
        raise InvalidSpec(f"{what}: '{value}' is no UUID.") from exc


def _seconds(name: str, option: str, value: t.Any, default: float) -> float:
    if value is None:
        return default
    if value < 0:
        raise InvalidSpec(f"domain {name}: {option} of {value} s is impossible; 0 or more.")
    return float(value)


def _wait(name: str, params: dict[str, t.Any]) -> Wait:
    timeout = _seconds(name, "wait_timeout", params.get("wait_timeout"), 300)
    value = params.get("wait_for")
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    if isinstance(value, (list, tuple)):
        value = {str(item): True for item in value}
    if value is None:
        return Wait(timeout=timeout)
    if not isinstance(value, dict) or not set(value) <= set(_WAITS):
        raise InvalidSpec(f"domain {name}: wait_for knows {' and '.join(_WAITS)}, not {value}.")
    ssh = value.get("ssh")
    details = ssh if isinstance(ssh, dict) else {}
    if not set(details) <= {"address", "port"}:
        raise InvalidSpec(
            f"domain {name}: wait_for.ssh has address and port, not {sorted(set(details) - {'address', 'port'})}."
        )
    port = details.get("port", 22)
    if not str(port).isdigit() or not 0 < int(port) < 65536:
        raise InvalidSpec(f"domain {name}: wait_for.ssh.port {port} is no port number.")
    wanted = {word: word in value and value[word] not in (False, "false", "no") for word in _WAITS}
    return Wait(wanted["agent"], wanted["ssh"], details.get("address"), int(port), timeout)


def _check(spec: DomainSpec) -> None:
    """What must hold between options."""
    what, scalars = f"domain {spec.name}", spec.definition.scalars
    _check_numbers(what, scalars)
    _check_boot(what, scalars)
    if "cpu.model" in scalars and scalars.get("cpu.mode", "custom") != "custom":
        raise InvalidSpec(f"{what}: cpu.model goes with cpu.mode custom, not with {scalars['cpu.mode']}.")
    if ("cpu.model" in scalars) != (scalars.get("cpu.mode") == "custom"):
        raise InvalidSpec(f"{what}: cpu.mode custom and cpu.model go together; state both.")


def _check_numbers(what: str, scalars: Values) -> None:
    for part, whole in (("current_memory", "memory"), ("current_vcpus", "vcpus")):
        if part in scalars and whole in scalars and scalars[part] > scalars[whole]:
            raise InvalidSpec(
                f"{what}: {part} ({scalars[part]}) is more than {whole} ({scalars[whole]}), which is the maximum."
            )
    for name in ("vcpus", "current_vcpus"):
        if scalars.get(name, 1) < 1:
            raise InvalidSpec(f"{what}: {name} of {scalars[name]} is impossible; 1 or more.")


def _check_boot(what: str, scalars: Values) -> None:
    if "os.kernel" not in scalars and ("os.initrd" in scalars or "os.cmdline" in scalars):
        raise InvalidSpec(f"{what}: os.initrd and os.cmdline go with os.kernel, which is not stated.")
    for dotted in ("os.kernel", "os.initrd", "emulator"):
        if not scalars.get(dotted, "/").startswith("/"):
            raise InvalidSpec(f"{what}: {dotted} has to be an absolute path, not '{scalars[dotted]}'.")
    for word in ("title", "os.cmdline"):
        if "\n" in scalars.get(word, ""):
            raise InvalidSpec(f"{what}: {word} has to be one line.")


def check_together(specs: t.Sequence[DomainSpec]) -> None:
    """Two domains of one call must share neither a MAC address, nor a UUID, nor a disk that both write."""
    seen: dict[tuple[str, str], str] = {}
    for spec in specs:
        if spec.state == "absent":
            continue
        for kind, value in _own(spec.definition):
            other = seen.setdefault((kind, value), spec.name)
            if other != spec.name:
                raise InvalidSpec(f"domains {other} and {spec.name}: both have the {kind} {value}; give each its own.")


def _own(definition: Definition) -> t.Iterator[tuple[str, str]]:
    if "uuid" in definition.scalars:
        yield "uuid", definition.scalars["uuid"]
    for interface in definition.devices.get("interfaces", ()):
        if "mac" in interface:
            yield "MAC address", interface["mac"]
    for disk in definition.devices.get("disks", ()):
        if disk.get("source") and not disk.get("readonly") and disk.get("device", "disk") == "disk":
            yield "disk", disk["source"]
