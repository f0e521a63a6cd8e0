# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Block jobs of a running domain: merging a chain, copying a disk. Thin typed calls, and the wait for a job.

A job belongs to qemu, not to whoever started it: it goes on when the task or the daemon ends, and can be waited for anew.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibvirtError, WaitTimeout
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import steady, translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: libvirt's types of block jobs.
_KINDS = {1: "pull", 2: "copy", 3: "commit", 4: "active_commit", 5: "backup"}
#: Seconds between two looks at a job, at first and at most.
_POLL, _LONGEST_POLL = 0.05, 1.0
#: Seconds between two lines about a job for a person.
_TELL = 10.0

Say = t.Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """A job: ``done`` of ``total`` are libvirt's own numbers, which may grow while the guest writes."""

    kind: str
    done: int
    total: int

    @property
    def percent(self) -> int:
        """How far it is."""
        return 100 * self.done // self.total if self.total else 0


@dataclasses.dataclass(frozen=True)
class Mirror:
    """What a disk is copied to while a job keeps both alike; ``job`` is libvirt's word (``copy``, ``active-commit``)."""

    job: str
    path: str | None
    ready: bool


def _domain(connection: t.Any, name: str) -> t.Any:
    with translated(f"Cannot look up domain {name}"):
        return connection.lookupByName(name)


@steady
def job(connection: t.Any, name: str, target: str) -> Job | None:
    """The job on a disk of a running domain; None when there is none."""
    domain = _domain(connection, name)
    with translated(f"Cannot read the block job on disk {target} of domain {name}"):
        info = domain.blockJobInfo(target, 0)
    if not info:
        return None
    return Job(_KINDS.get(info.get("type", 0), "unknown"), int(info.get("cur", 0)), int(info.get("end", 0)))


def mirrors(document: str) -> dict[str, Mirror]:
    """The copies of disks by target, by the document of what runs."""
    found: dict[str, Mirror] = {}
    if "<mirror" not in document:
        return found
    for node in _xml.parse(document).findall("devices/disk"):
        copy, target = node.find("mirror"), _xml.find_attribute(node, "target", "dev")
        if copy is not None and target is not None:
            source = copy.find("source")
            path = None if source is None else source.get("file") or source.get("dev")
            found[target] = Mirror(copy.get("job") or "copy", path or copy.get("file"), copy.get("ready") == "yes")
    return found


def mirror(document: str, target: str) -> Mirror | None:
    """The copy of a disk, by the document of what runs; None when it has none."""
    return mirrors(document).get(target)


def size(connection: t.Any, name: str, target: str) -> tuple[int, int]:
    """How large the guest sees a disk, and how large what is behind it is (a device of the host may have grown since)."""
    domain = _domain(connection, name)
    with translated(f"Cannot read the size of disk {target} of domain {name}"):
        capacity, _allocation, physical = domain.blockInfo(target, 0)
    return int(capacity), int(physical)


def resize(connection: t.Any, name: str, target: str, size: int) -> None:
    """Gives a disk of a running domain another size in bytes. It shrinks disks too: the caller sees to it that it does not."""
    domain = _domain(connection, name)
    with translated(f"Cannot change the size of disk {target} of domain {name}"):
        domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def commit(connection: t.Any, name: str, target: str, top: str | None, base: str) -> None:
    """Begins to merge ``top`` (None: what the domain writes to) and all between into ``base``."""
    domain = _domain(connection, name)
    flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if top is None else 0
    with translated(f"Cannot merge disk {target} of domain {name} into {base}"):
        domain.blockCommit(target, base, top, 0, flags)


def copy(connection: t.Any, name: str, target: str, destination: str, reuse: bool) -> None:
    """Begins to copy a disk to what ``destination`` (a ``<disk>`` document) names; ``reuse``: it is there already."""
    domain = _domain(connection, name)
    # Without it libvirt refuses persistent domains: a copy does not survive the end of qemu.
    flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
    flags |= libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT if reuse else 0
    with translated(f"Cannot copy disk {target} of domain {name}"):
        domain.blockCopy(target, destination, {}, flags)


def pivot(connection: t.Any, name: str, target: str) -> None:
    """Lets the domain go on with the copy, or the base, that a ready job keeps alike."""
    domain = _domain(connection, name)
    with translated(f"Cannot end the block job on disk {target} of domain {name}"):
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def abort(connection: t.Any, name: str, target: str) -> None:
    """Ends a job; the domain goes on with the disk that it has. One that has ended is ended."""
    domain = _domain(connection, name)
    try:
        with translated(f"Cannot end the block job on disk {target} of domain {name}"):
            domain.blockJobAbort(target, 0)
    except LibvirtError:
        if job(connection, name, target) is not None:
            raise


def wait(connection: t.Any, name: str, target: str, timeout: float, say: Say, started: float | None = None) -> bool:
    """Waits until a job keeps both sides alike (True: ready to pivot) or has ended by itself (False).

    Raises WaitTimeout ``timeout`` seconds after ``started`` (monotonic, None: now): the job goes on, nothing is lost by it.
    """
    told, pause = time.monotonic(), _POLL
    started = told if started is None else started
    while True:
        # First the job, then the document: one that ends in between is seen as not ready, and gone at the next look.
        now = job(connection, name, target)
        if now is None:
            return False
        if _ready(connection, name, target):
            return True
        passed = time.monotonic() - started
        if passed >= timeout:
            raise WaitTimeout(
                f"domain {name}: the block job on disk {target} is at {now.percent} % after {timeout:g} s. It goes on; run the"
                " task again to have it finished, with more wait_timeout if it is slow.",
                disk=target,
                percent=now.percent,
            )
        if time.monotonic() - told >= _TELL:
            told = time.monotonic()
            say(f"domain {name}: the block job on disk {target} is at {now.percent} %")
        time.sleep(min(pause, max(0.0, timeout - passed)))
        pause = min(pause * 1.5, _LONGEST_POLL)


@steady
def _ready(connection: t.Any, name: str, target: str) -> bool:
    domain = _domain(connection, name)
    with translated(f"Cannot read domain {name}"):
        seen = mirror(domain.XMLDesc(0), target)
    return seen is not None and seen.ready


def settle(connection: t.Any, name: str, target: str, timeout: float) -> None:
    """Waits until a pivot or an abort, which libvirt may finish a moment later, is over."""
    deadline = time.monotonic() + timeout
    while job(connection, name, target) is not None:
        if time.monotonic() >= deadline:
            raise KvmError(
                f"domain {name}: the block job on disk {target} has not ended {timeout:g} s after it was told to; see qemu's log"
                " and run the task again."
            )
        time.sleep(_POLL)
