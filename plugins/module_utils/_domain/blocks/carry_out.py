# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Carries out what disks need beside their definition. Each step looks again, so that a run that was cut off is finished by
the next."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command, _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks import adopt, look
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.place import reused
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.plan import Blocks, Copy, Growth
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.blocks.wish import Mirror
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import blockjobs, domains

#: Seconds for a change that is a matter of moments: of a size, and the end of a job.
_MOMENT = 120

Say = t.Callable[[str], None]


def end(connection: t.Any, name: str, blocks: Blocks) -> None:
    """Ends the copies that are declared no more. What has been copied stays where it is."""
    for target in blocks.ended:
        blockjobs.abort(connection, name, target)
        blockjobs.settle(connection, name, target, _MOMENT)


def grow(connection: t.Any, name: str, blocks: Blocks) -> None:
    """Makes disks larger: in the running domain that has them, else in their files."""
    for growth in blocks.growths:
        raw = domains.read(connection, name)
        running = adopt.source(raw.running_xml, growth.target) if raw is not None else None
        if running == growth.path:
            blockjobs.resize(connection, name, growth.target, growth.size)
        else:
            _grow_file(name, growth)


def _grow_file(name: str, growth: Growth) -> None:
    what = f"domain {name}: disk {growth.target} cannot get another size"
    program = _command.find("qemu-img", "qemu-utils")
    # Never by its look: a raw disk holds what its guest has written.
    argv = [program, "resize", "-q", "-f", growth.format, growth.path, str(growth.size)]
    _command.run(argv, timeout=_MOMENT, what=what)


def copy(connection: t.Any, name: str, blocks: Blocks, local: bool, timeout: float, say: Say) -> None:
    """Begins copies, waits until they are like their disks, and lets the domain go on with those that it is to."""
    started = time.monotonic()
    for item in blocks.copies:
        _begin(connection, name, item, local, say)
    for item in blocks.copies:
        if _at_copy(connection, name, item):
            continue
        _wait(connection, name, item, timeout, say, started)
        if item.mirror.pivot:
            say(f"domain {name}: disk {item.target} goes on with {item.mirror.path}")
            blockjobs.pivot(connection, name, item.target)
            blockjobs.settle(connection, name, item.target, _MOMENT)
            _keep(connection, name, item)


def wait(connection: t.Any, name: str, blocks: Blocks, timeout: float, say: Say) -> None:
    """Waits for copies that were begun earlier and are not yet like their disks."""
    started = time.monotonic()
    for item in blocks.copies:
        if not item.mirror.pivot:
            _wait(connection, name, item, timeout, say, started)


def _document(connection: t.Any, name: str) -> str:
    raw = domains.read(connection, name)
    if raw is None or raw.running_xml is None:
        raise KvmError(f"domain {name}: it does not run any more, so its disks cannot be copied; run the task again.")
    return raw.running_xml


def _at_copy(connection: t.Any, name: str, item: Copy) -> bool:
    return item.mirror.pivot and adopt.source(_document(connection, name), item.target) == item.mirror.path


def _begin(connection: t.Any, name: str, item: Copy, local: bool, say: Say) -> None:
    document, mirror = _document(connection, name), item.mirror
    there = blockjobs.mirrors(document).get(item.target)
    if (there is not None and there.path == mirror.path) or _at_copy(connection, name, item):
        return
    what = f"domain {name}: disk {item.target}"
    if there is not None:
        raise Busy(f"{what} is being copied to {there.path} by somebody else; let that come to its end.")
    if adopt.source(document, item.target) != item.source:
        raise Busy(f"{what} is not what it is declared as until the next start, so it is not copied.")
    # Once more: somebody may have put something there since it was looked at.
    size, _physical = blockjobs.size(connection, name, item.target)
    seen = look.place_of(connection, name, mirror, item.source) if local else None
    again = reused(what, mirror, seen, size, item.ours)
    say(f"{what} is being copied to {mirror.path}")
    blockjobs.copy(connection, name, item.target, _destination(mirror), again)


def _destination(mirror: Mirror) -> str:
    node = _xml.element("disk", {"type": mirror.type})
    _xml.child(node, "driver", {"name": "qemu", "type": mirror.format})
    _xml.child(node, "source", {"dev" if mirror.type == "block" else "file": mirror.path})
    return _xml.to_text(node)


def _wait(connection: t.Any, name: str, item: Copy, timeout: float, say: Say, started: float) -> None:
    if not blockjobs.wait(connection, name, item.target, timeout, say, started):
        raise KvmError(
            f"domain {name}: the copy of disk {item.target} to {item.mirror.path} has ended by itself; is there room for it, and"
            " does the disk give no errors? qemu's log may say more. Then run the task again."
        )


def _keep(connection: t.Any, name: str, item: Copy) -> None:
    """libvirt writes where the disk is into the definition too, unless it had another source there."""
    raw = domains.read(connection, name)
    if raw is not None and raw.persistent and adopt.source(raw.inactive_xml, item.target) != item.mirror.path:
        domains.define(connection, name, adopt.moved(raw.inactive_xml, item.target, item.mirror))
