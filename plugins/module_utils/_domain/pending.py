# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what the running domain lacks of its definition, and gets at its next start. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Values
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.xml import NEW, Seen

_MIB = 1024 * 1024

#: Field to (running value, defined value, whether it is a secret).
Waiting = dict[str, tuple[t.Any, t.Any, bool]]


def waiting(live: Seen, wanted: Seen) -> Waiting:
    """The fields in which what runs differs from the definition, other than by what only the moment brings."""
    found: Waiting = {}
    for name, leaf in BY_NAME.items():
        pair: tuple[t.Any, ...] = live.scalars.get(name), wanted.scalars.get(name)
        if leaf.runtime or leaf.effect == "recreate" or (pair[1] is None and name not in _REMOVABLE):
            continue
        if name == "memory":
            # A start rounds up to whole MiB.
            pair = tuple(-(-(size or 0) // _MIB) * _MIB for size in pair)
        if pair[0] != pair[1] and not (name.startswith("cpu.") and _expanded(live, wanted)):
            found[name] = (pair[0], pair[1], leaf.secret)
    for kind in KINDS:
        _devices(found, kind, live.devices[kind.option], wanted.devices[kind.option])
    return found


#: Options whose absence from a definition is a value, not "as libvirt chooses".
_REMOVABLE = ("os.kernel", "os.initrd", "os.cmdline", "os.boot_menu")


def _expanded(live: Seen, wanted: Seen) -> bool:
    """A start replaces a CPU mode that depends on the host by the model that it has found."""
    mode = wanted.scalars.get("cpu.mode")
    return mode is None or (mode == "host-model" and live.scalars.get("cpu.mode") in ("custom", "host-model"))


def _devices(found: Waiting, kind: Kind, live: dict[str, Values], wanted: dict[str, Values]) -> None:
    for label in [*live, *(label for label in wanted if label not in live)]:
        name = kind.option if kind.single else f"{kind.option}.{label}"
        now, then = live.get(label), wanted.get(label)
        if label.startswith(NEW) and then is None:
            continue
        if now is None or then is None:
            if (now or then or {}).get("model") != "none":
                found[name] = (_plain(kind, now), _plain(kind, then), False)
            continue
        for leaf in kind.leaves:
            pair = now.get(leaf.name), then.get(leaf.name)
            # What is neither (missing or False) is the same: not there.
            if pair[0] != pair[1] and any(pair) and not _of_the_moment(kind, leaf.name, then):
                found[f"{name}.{leaf.name}"] = (*pair, leaf.secret)


def _of_the_moment(kind: Kind, option: str, then: Values) -> bool:
    # The guest ejects media; libvirt fills in where nothing was said.
    if kind.option == "disks" and then.get("device") != "disk":
        return option in ("source", "type", "format")
    return then.get(option) is None and option in ("bus", "listen")


def _plain(kind: Kind, values: Values | None) -> Values | None:
    secrets = [leaf.name for leaf in kind.leaves if leaf.secret]
    return None if values is None else {name: value for name, value in values.items() if name not in secrets}
