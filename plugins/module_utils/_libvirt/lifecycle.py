# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What makes a domain run, pause and end. What somebody else has done meanwhile is done, and no error."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_code, steady, translated
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import gone, lookup, state_of

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None


def _raced(error: LibvirtError, domain: t.Any, *states: str) -> bool:
    """Whether a call was refused because somebody else has just brought the domain into one of these states."""
    try:
        return is_code(error, "VIR_ERR_OPERATION_INVALID") and state_of(domain)[0] in states
    except libvirt.libvirtError:
        # Then the first error is the one to tell.
        return False


@steady
def start(connection: t.Any, name: str, paused: bool = False) -> None:
    """Starts a defined domain (or restores its saved memory); one that somebody else has just started is started."""
    domain = lookup(connection, name)
    try:
        with translated(f"Cannot start domain {name}"):
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
    except LibvirtError as exc:
        if not _raced(exc, domain, "running", "paused"):
            raise


@steady
def create(connection: t.Any, name: str, document: str, paused: bool = False) -> None:
    """Starts a domain that has no definition; it is gone when it ends. ``document`` has its UUID, by which it is known."""
    try:
        with translated(f"Cannot start domain {name}"):
            connection.createXML(document, libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
    except LibvirtError:
        raw = domains.read(connection, name)
        if raw is None or not raw.active or raw.uuid not in document:
            raise


@steady
def resume(connection: t.Any, name: str) -> None:
    """Lets a paused domain go on."""
    domain = lookup(connection, name)
    try:
        with translated(f"Cannot resume domain {name}"):
            domain.resume()
    except LibvirtError as exc:
        if not _raced(exc, domain, "running"):
            raise


@steady
def suspend(connection: t.Any, name: str) -> None:
    """Pauses a running domain."""
    domain = lookup(connection, name)
    with translated(f"Cannot pause domain {name}"):
        domain.suspend()


@steady
def wake(connection: t.Any, name: str) -> None:
    """Asks a guest that sleeps to wake up; that it was asked says nothing about whether it does."""
    domain = lookup(connection, name)
    try:
        with translated(f"Cannot wake domain {name} up"):
            domain.pMWakeup(0)
    except LibvirtError as exc:
        if not _raced(exc, domain, "running"):
            raise


@steady
def managed_save(connection: t.Any, name: str, to_run: bool = False) -> None:
    """Saves the memory of a domain and ends it; ``to_run``: it runs when it is restored, also if it is paused now."""
    domain = lookup(connection, name)
    try:
        with translated(f"Cannot save the memory of domain {name}"):
            domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING if to_run else 0)
    except LibvirtError as exc:
        if not (_raced(exc, domain, "stopped") and _has_saved(connection, name)):
            raise


def _has_saved(connection: t.Any, name: str) -> bool:
    with translated(f"Cannot look for the saved memory of domain {name}"):
        return bool(connection.lookupByName(name).hasManagedSaveImage(0))


@steady
def discard_saved(connection: t.Any, name: str) -> None:
    """Throws the saved memory of a domain away."""
    domain = lookup(connection, name)
    with translated(f"Cannot throw the saved memory of domain {name} away"):
        if domain.hasManagedSaveImage(0):
            domain.managedSaveRemove(0)


@steady
def disk_errors(connection: t.Any, name: str) -> dict[str, str]:
    """The errors of disks by target; libvirt knows no more than ``unspecified`` and ``no space``."""
    domain = lookup(connection, name)
    words = {1: "unspecified", 2: "no space"}
    with translated(f"Cannot read the disk errors of domain {name}"):
        return {disk: words.get(code, "unspecified") for disk, code in (domain.diskErrors(0) or {}).items()}


@steady
def shutdown(connection: t.Any, name: str) -> None:
    """Asks the guest to shut down (agent, else ACPI); that it was asked says nothing about whether it does."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot shut down domain {name}"):
            domain.shutdown()
    except LibvirtError as exc:
        if not gone(exc) and not is_code(exc, "VIR_ERR_OPERATION_INVALID"):
            raise


@steady
def press_power_button(connection: t.Any, name: str) -> None:
    """Asks the guest by ACPI alone."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot shut down domain {name}"):
            domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    except LibvirtError as exc:
        if not gone(exc) and not is_code(exc, "VIR_ERR_OPERATION_INVALID"):
            raise


@steady
def set_poweroff(connection: t.Any, name: str, action: str) -> None:
    """What happens to a running domain when its guest powers off; its definition keeps what it says."""
    words = {"destroy": "DESTROY", "restart": "RESTART", "rename-restart": "RESTART_RENAME", "preserve": "PRESERVE"}
    domain = lookup(connection, name)
    with translated(f"Cannot change what domain {name} does when its guest powers off"):
        value = getattr(libvirt, f"VIR_DOMAIN_LIFECYCLE_ACTION_{words[action]}")
        domain.setLifecycleAction(libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF, value, libvirt.VIR_DOMAIN_AFFECT_LIVE)


@steady
def destroy(connection: t.Any, name: str) -> None:
    """Forces a domain off; one that is off already is off."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot force domain {name} off"):
            domain.destroy()
    except LibvirtError as exc:
        if not gone(exc) and not (
            is_code(exc, "VIR_ERR_OPERATION_INVALID") and domains.state(connection, name)[0] == "stopped"
        ):
            raise


@steady
def rename(connection: t.Any, name: str, other: str) -> None:
    """Gives a domain that is off another name; done is done, also by a call that was cut off."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot rename domain {name} to {other}"):
            domain.rename(other, 0)
    except LibvirtError as exc:
        if not gone(exc) or domains.state(connection, other)[0] == "absent":
            raise


#: What goes with a definition, so that a version of libvirt that does not know the last of them still takes the others.
_OWN = ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA", "TPM")
_KEPT = ("KEEP_NVRAM", "KEEP_TPM")


@steady
def undefine(connection: t.Any, name: str, keep: bool = False) -> None:
    """Removes the definition of a stopped domain with what belongs to it alone: NVRAM, TPM state, a saved state, and
    the records of snapshots and checkpoints (never a disk); ``keep``: nothing but it. A domain that is gone is gone."""
    try:
        domain = lookup(connection, name)
        with translated(f"Cannot undefine domain {name}"):
            if domain.isActive():
                raise LibvirtError(f"domain {name}: it has been started meanwhile, so its definition stays.")
            _undefine(domain, _KEPT if keep else _OWN)
    except LibvirtError as exc:
        if not gone(exc):
            raise


def _undefine(domain: t.Any, words: t.Sequence[str]) -> None:
    """With as many of the flags as the driver knows: a daemon may be older than the library. What a flag that it does not
    know would allow, such a driver does not have, or refuses by itself."""
    for count in range(len(words), -1, -1):
        try:
            domain.undefineFlags(_undefine_flags(*words[:count]))
            return
        except libvirt.libvirtError as exc:
            unknown = exc.get_error_code() == libvirt.VIR_ERR_INVALID_ARG and "flag" in str(exc)
            if count == 0 or not unknown:
                raise


def _undefine_flags(*words: str) -> int:
    """The flags that this version of libvirt has of those."""
    flags = 0
    for word in words:
        flags |= getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_{word}", 0)
    return flags


@steady
def forget(connection: t.Any, name: str) -> None:
    """Removes the definition of a running domain and nothing else: it runs on, and is gone when it ends."""
    domain = lookup(connection, name)
    with translated(f"Cannot remove the definition of the running domain {name}"):
        if not domain.isPersistent():
            return
        if not domain.isActive():
            raise LibvirtError(f"domain {name}: it has just ended, so its definition stays; run the task again.")
        _undefine(domain, _KEPT)
