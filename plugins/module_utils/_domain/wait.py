# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: waits until guests are up, all at once, and says why one is not. Reads only (a screenshot aside)."""

from __future__ import annotations

import concurrent.futures
import os
import socket
import tempfile
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import observe, seen_log, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.character import AGENT
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec, Wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains

#: Seconds between two looks at a guest.
_POLL = 0.5
#: Seconds for a connection and for the first bytes of a server.
_CONNECT = 3
#: Pictures of screens: one for each domain, the last one; for root's eyes, for a screen may show anything.
_PICTURES = "/var/lib/hypervisor.kvm/screenshots"
_MANY = 64

Say = t.Callable[[str], None]


def wait_all(
    connection: t.Any, specs: t.Sequence[DomainSpec], local: bool, say: Say
) -> dict[str, dict[str, float] | KvmError]:
    """Waits for all domains at once; for each name the seconds until each thing was there, or the error."""
    if not specs:
        return {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(_MANY, len(specs))) as pool:
        futures = {spec.name: pool.submit(_wait_one, connection, spec, local, say) for spec in specs}
        return {name: future.result() for name, future in futures.items()}


def _wait_one(connection: t.Any, spec: DomainSpec, local: bool, say: Say) -> dict[str, float] | KvmError:
    started = time.monotonic()
    done: dict[str, float] = {}
    try:
        while True:
            state, reason = domains.state(connection, spec.name)
            if state not in ("running", "paused"):
                return _failure(
                    connection, spec, local, (KvmError, f"it is {state} ({reason}) instead of running"), done
                )
            for what in _open(spec.wait, done):
                if _there(connection, spec, what):
                    done[what] = round(time.monotonic() - started, 1)
                    say(f"domain {spec.name}: {what} answers")
            if not _open(spec.wait, done):
                return done
            if time.monotonic() - started >= spec.wait.timeout:
                text = f"no answer from {' and '.join(_open(spec.wait, done))} within {spec.wait.timeout:g} s"
                return _failure(connection, spec, local, (WaitTimeout, text), done)
            time.sleep(_POLL)
    except KvmError as exc:
        return exc


def _open(wait: Wait, done: t.Collection[str]) -> list[str]:
    return [what for what, wanted in (("agent", wait.agent), ("ssh", wait.ssh)) if wanted and what not in done]


def _there(connection: t.Any, spec: DomainSpec, what: str) -> bool:
    if what == "agent":
        return domains.agent_answers(connection, spec.name)
    return any(ssh_answers(address, spec.wait.ssh_port) for address in _addresses(connection, spec))


def _addresses(connection: t.Any, spec: DomainSpec) -> list[str]:
    if spec.wait.ssh_address is not None:
        return [spec.wait.ssh_address]
    raw = domains.read(connection, spec.name)
    if raw is None or raw.running_xml is None:
        return []
    return domains.addresses(connection, spec.name, AGENT in xml.connected_channels(raw.running_xml))


def ssh_answers(address: str, port: int) -> bool:
    """Whether a server greets with SSH's banner: an open port alone may be a server that is not ready."""
    try:
        with socket.create_connection((address, port), timeout=_CONNECT) as connection:
            connection.settimeout(_CONNECT)
            banner = b""
            while len(banner) < 4:
                received = connection.recv(64)
                if not received:
                    return False
                banner += received
            return banner.startswith(b"SSH-")
    except OSError:
        return False


def _failure(
    connection: t.Any, spec: DomainSpec, local: bool, error: tuple[type[KvmError], str], done: dict[str, float]
) -> KvmError:
    """The error with all that was seen: console, screen, qemu's log, addresses."""
    raw = domains.read(connection, spec.name)
    running = raw.running_xml if raw is not None else None
    console = observe.console_log(running or (raw.inactive_xml if raw is not None else None))
    lines = seen_log.tail(console) if local else []
    picture = _screenshot(connection, spec.name) if running is not None and local else None
    last = f" The console's last line: {lines[-1]}" if lines else ""
    kind, text = error
    return kind(
        f"domain {spec.name}: {text}; see console_tail, screenshot and qemu_log_tail of this result.{last}",
        domain_state=raw.state if raw is not None else "absent",
        domain_reason=raw.reason if raw is not None else "gone",
        waited=done,
        console_log=console,
        console_tail=lines,
        qemu_log_tail=seen_log.qemu_log(spec.name) if local else [],
        screenshot=picture,
        addresses=_addresses(connection, spec) if running is not None else [],
    )


def _screenshot(connection: t.Any, name: str) -> str | None:
    """The path of a picture of the screen; None when there is no screen or no place for a picture."""
    try:
        os.makedirs(_PICTURES, mode=0o700, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=_PICTURES)
    except OSError:
        return None
    try:
        with os.fdopen(descriptor, "wb") as file:
            mime = domains.screenshot(connection, name, file.write)
        path = os.path.join(_PICTURES, name + (".png" if mime == "image/png" else ".ppm"))
        os.replace(part, path)
        return path
    except (KvmError, OSError):
        # A guest without a video device has no picture; the error to tell is the one of the wait.
        os.unlink(part)
        return None
