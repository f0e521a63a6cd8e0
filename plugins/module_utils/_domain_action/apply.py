# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Actions on domains: carries them out. The only room that writes."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _png, _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action import place
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.spec import ActionSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import actions, domains, host

#: Seconds between two looks at a guest that is to reboot, and after which it is asked again.
_POLL = 0.25
_AGAIN = 15

Say = t.Callable[[str], None]


def refuse(spec: ActionSpec, changes: ChangeSet) -> None:
    """Ends a real run before anything is done when something is not there."""
    missing = changes.plan.missing
    if missing:
        raise KvmError(f"{spec.what}: {'; '.join(missing)}. Make that so first.", missing=missing)


def apply(connection: t.Any, spec: ActionSpec, say: Say) -> dict[str, t.Any]:
    """Carries the action out; returns what there is to say of it."""
    say(spec.what)
    return _ACTIONS[spec.action](connection, spec, say)


def _reboot(connection: t.Any, spec: ActionSpec, say: Say) -> dict[str, t.Any]:
    if spec.timeout == 0:
        actions.reboot(connection, spec.name, spec.method)
        return {}
    started, asked = time.monotonic(), float("-inf")
    stays = _begins_anew(connection, spec.name)
    with actions.reboots(host.uri(connection), spec.name) as seen:
        while not seen.is_set():
            state, reason = domains.state(connection, spec.name)
            if state in ("stopped", "absent"):
                if stays and not seen.is_set():
                    raise _went_off(spec, state, reason)
                break
            if time.monotonic() - started >= spec.timeout:
                return _by_force(connection, spec, (state, reason), say)
            # A guest that is just booting misses the request, and libvirt calls that a success.
            if time.monotonic() - asked >= _AGAIN:
                asked = time.monotonic()
                actions.reboot(connection, spec.name, spec.method)
            seen.wait(_POLL)
    return {"forced": False, "seconds": round(time.monotonic() - started, 1)}


def _begins_anew(connection: t.Any, name: str) -> bool:
    """Whether a reboot of the guest is one of the domain, too: events.reboot may say that it ends it."""
    raw = domains.read(connection, name)
    if raw is None or raw.running_xml is None:
        return True
    return _xml.parse(raw.running_xml, f"domain {name}").findtext("on_reboot", "restart") == "restart"


def _went_off(spec: ActionSpec, state: str, reason: str) -> KvmError:
    return KvmError(
        f"{spec.what}: the guest powered off instead of rebooting (the domain is {state}: {reason}); start it again, and see"
        " what the guest does when it is asked to reboot.",
        domain_state=state,
        domain_reason=reason,
    )


def _by_force(connection: t.Any, spec: ActionSpec, seen: tuple[str, str], say: Say) -> dict[str, t.Any]:
    if not spec.force:
        raise WaitTimeout(
            f"{spec.what}: the guest did not reboot within {spec.timeout:g} s (it is {seen[0]}); does it react to ACPI or run"
            " the guest agent? Allow more timeout, or force, which presses the reset button then.",
            domain_state=seen[0],
            domain_reason=seen[1],
        )
    say(f"{spec.what}: resetting it")
    actions.reset(connection, spec.name)
    return {"forced": True, "seconds": spec.timeout}


def _reset(connection: t.Any, spec: ActionSpec, _say: Say) -> dict[str, t.Any]:
    actions.reset(connection, spec.name)
    return {}


def _screenshot(connection: t.Any, spec: ActionSpec, _say: Say) -> dict[str, t.Any]:
    parts: list[bytes] = []
    domains.screenshot(connection, spec.name, parts.append, spec.screen)
    png = _png.from_any(b"".join(parts))
    width, height = _png.size(png)
    path = spec.path or ""
    with place.made(spec.what, path, spec.overwrite) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(png)
    return {"path": path, "size": len(png), "width": width, "height": height}


def _send_key(connection: t.Any, spec: ActionSpec, _say: Say) -> dict[str, t.Any]:
    for index, chord in enumerate(spec.keys):
        if index:
            # The keys of the one before are let go by then.
            time.sleep(spec.hold / 1000)
        actions.send_keys(connection, spec.name, chord, spec.hold)
    return {}


def _dump(connection: t.Any, spec: ActionSpec, _say: Say) -> dict[str, t.Any]:
    path = spec.path or ""
    with place.made(spec.what, path, spec.overwrite) as part:
        actions.dump(connection, spec.name, part, spec.format, memory_only=spec.memory_only, live=spec.live)
        size = os.stat(part).st_size
    return {"path": path, "size": size}


def _inject_nmi(connection: t.Any, spec: ActionSpec, _say: Say) -> dict[str, t.Any]:
    actions.inject_nmi(connection, spec.name)
    return {}


_ACTIONS: dict[str, t.Callable[[t.Any, ActionSpec, Say], dict[str, t.Any]]] = {
    "reboot": _reboot,
    "reset": _reset,
    "screenshot": _screenshot,
    "send_key": _send_key,
    "dump": _dump,
    "inject_nmi": _inject_nmi,
}
