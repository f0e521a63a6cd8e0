# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What can be done to a domain without changing what it is. None of it is ``steady``: made twice, it is done twice."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import another, translated
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import lookup

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: libvirt's words for what reboots a guest, and for the form of a dump.
_REBOOTS = {"auto": "DEFAULT", "agent": "GUEST_AGENT", "acpi": "ACPI_POWER_BTN"}
_FORMATS = {
    None: "RAW",
    "elf": "RAW",
    "kdump-zlib": "KDUMP_ZLIB",
    "kdump-lzo": "KDUMP_LZO",
    "kdump-snappy": "KDUMP_SNAPPY",
}
#: Milliseconds after which the loop of events looks whether it is still needed.
_TICK = 200


def reboot(connection: t.Any, name: str, method: str) -> None:
    """Asks the guest to reboot; that it was asked says nothing about whether it does."""
    domain = lookup(connection, name)
    with translated(f"Cannot reboot domain {name}"):
        domain.reboot(getattr(libvirt, f"VIR_DOMAIN_REBOOT_{_REBOOTS[method]}"))


@contextlib.contextmanager
def reboots(uri: str, name: str) -> t.Iterator[threading.Event]:
    """Set as soon as the machine of the domain has begun anew. libvirt tells that as an event, and in no other way."""
    with translated("Cannot listen to libvirt's events"):
        libvirt.virEventRegisterDefaultImpl()
    connection, seen, over = another(uri), threading.Event(), threading.Event()
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot listen to the events of domain {name}"):
            connection.domainEventRegisterAny(
                domain, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, lambda *_arguments: seen.set(), None
            )
            ticks = libvirt.virEventAddTimeout(_TICK, lambda *_arguments: None, None)
        loop = threading.Thread(target=_loop, args=(over,), daemon=True)
        loop.start()
        try:
            yield seen
        finally:
            over.set()
            loop.join()
            libvirt.virEventRemoveTimeout(ticks)
    finally:
        connection.close()


def _loop(over: threading.Event) -> None:
    while not over.is_set():
        libvirt.virEventRunDefaultImpl()


def reset(connection: t.Any, name: str) -> None:
    """Presses the reset button."""
    domain = lookup(connection, name)
    with translated(f"Cannot reset domain {name}"):
        domain.reset(0)


def send_keys(connection: t.Any, name: str, numbers: t.Sequence[int], hold: int) -> None:
    """Presses keys (numbers of Linux) together and lets them go after ``hold`` milliseconds."""
    domain = lookup(connection, name)
    with translated(f"Cannot send keys to domain {name}"):
        domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, hold, list(numbers), len(numbers), 0)


def inject_nmi(connection: t.Any, name: str) -> None:
    """Sends a non-maskable interrupt, on which guests can write a dump of their own."""
    domain = lookup(connection, name)
    with translated(f"Cannot send an NMI to domain {name}"):
        domain.injectNMI(0)


def dump(connection: t.Any, name: str, path: str, form: str | None, *, memory_only: bool, live: bool) -> None:
    """Has the daemon write a dump. It truncates what it finds at the path, and follows links: give it a path of your own."""
    domain = lookup(connection, name)
    flags = (libvirt.VIR_DUMP_MEMORY_ONLY if memory_only else 0) | (libvirt.VIR_DUMP_LIVE if live else 0)
    with translated(f"Cannot dump domain {name}"):
        domain.coreDumpWithFormat(path, getattr(libvirt, f"VIR_DOMAIN_CORE_DUMP_FORMAT_{_FORMATS[form]}"), flags)
