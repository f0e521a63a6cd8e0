# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Actions on domains: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import os.path
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action import keys
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

ACTIONS = ("reboot", "reset", "screenshot", "send_key", "dump", "inject_nmi")
METHODS = ("auto", "agent", "acpi")
FORMATS = ("elf", "kdump-zlib", "kdump-lzo", "kdump-snappy")

_NAME = re.compile(r"[^\x00-\x1f\x7f/]+")
#: Options that go with some actions only.
_OWN: dict[str, tuple[str, ...]] = {
    "method": ("reboot",),
    "timeout": ("reboot",),
    "force": ("reboot",),
    "path": ("screenshot", "dump"),
    "overwrite": ("screenshot", "dump"),
    "screen": ("screenshot",),
    "keys": ("send_key",),
    "hold": ("send_key",),
    "memory_only": ("dump",),
    "format": ("dump",),
    "live": ("dump",),
}
_NEEDED = {"screenshot": "path", "dump": "path", "send_key": "keys"}


@dataclasses.dataclass(frozen=True)
class ActionSpec:
    """An action on a domain. ``timeout`` is in seconds, ``hold`` in milliseconds, ``keys`` are chords of key numbers."""

    name: str
    action: str
    method: str = "auto"
    timeout: float = 120
    force: bool = False
    path: str | None = None
    overwrite: bool = False
    screen: int = 0
    keys: tuple[tuple[int, ...], ...] = ()
    chords: tuple[str, ...] = ()
    hold: int = 50
    memory_only: bool = False
    format: str | None = None
    live: bool = False

    @property
    def what(self) -> str:
        """What messages begin with."""
        return f"domain {self.name}: {self.action}"


def parse(params: dict[str, t.Any]) -> ActionSpec:
    """The options of one action to its specification; raises InvalidSpec with a sentence that names the domain."""
    name, action = params["name"], params.get("action")
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidSpec(f"domain name '{name}': no slashes and no control characters, please.")
    if action is None:
        raise InvalidSpec(f"domain {name}: which action? Say one of {', '.join(ACTIONS)}.")
    stated = {option: params[option] for option in _OWN if params.get(option) is not None}
    for option in stated:
        if action not in _OWN[option]:
            raise InvalidSpec(
                f"domain {name}: {option} goes with the action {' or '.join(_OWN[option])}, not with {action}."
            )
    needed = _NEEDED.get(action)
    if needed is not None and not stated.get(needed):
        raise InvalidSpec(f"domain {name}: the action {action} needs {needed}.")
    spec = ActionSpec(name, action, **{**stated, **_keys(name, stated)})
    _check(spec)
    return spec


def _keys(name: str, stated: dict[str, t.Any]) -> dict[str, t.Any]:
    if "keys" not in stated:
        return {}
    chords = tuple(str(chord) for chord in stated["keys"])
    return {"keys": tuple(keys.parse(f"domain {name}", chord) for chord in chords), "chords": chords}


def _check(spec: ActionSpec) -> None:
    what = f"domain {spec.name}"
    if spec.path is not None:
        if not spec.path.startswith("/"):
            raise InvalidSpec(f"{what}: path has to be absolute, not '{spec.path}'.")
        if spec.path.endswith("/") or os.path.basename(spec.path) in (".", ".."):
            raise InvalidSpec(f"{what}: path has to be that of a file, and '{spec.path}' is that of a folder.")
    for option, value, most in (
        ("timeout", spec.timeout, 86400),
        ("screen", spec.screen, 255),
        ("hold", spec.hold, 60000),
    ):
        if not 0 <= value <= most:
            raise InvalidSpec(f"{what}: {option} of {value} is impossible; 0 to {most}.")
    if spec.format is not None and not spec.memory_only:
        raise InvalidSpec(f"{what}: format goes with memory_only, for only a dump of the memory has a choice.")
    if spec.memory_only and spec.live:
        raise InvalidSpec(
            f"{what}: live goes with a whole dump; one of the memory only is always made of a paused guest."
        )


def check_together(specs: t.Sequence[ActionSpec]) -> None:
    """Two actions of one call must not write to one file."""
    seen: dict[str, str] = {}
    for spec in specs:
        if spec.path is not None:
            path = os.path.normpath(spec.path)
            if path in seen:
                raise InvalidSpec(
                    f"domains {seen[path]} and {spec.name}: both have the path {spec.path}; give each its own."
                )
            seen[path] = spec.name
