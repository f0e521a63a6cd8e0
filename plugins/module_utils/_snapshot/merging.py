# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: merges the files of disks, of running domains by block jobs, of others by qemu-img.

The order keeps the data at every moment: what is merged is noted first; a file stays until everything that named it
names the one that it was merged into.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import blockjobs, domains, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import layers, removal, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Merge
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec

#: Seconds in which qemu has gone over to the other file, or a header is written.
_SHORT = 60.0

Say = t.Callable[[str], None]


def merge(connection: t.Any, spec: SnapshotSpec, going: Removal, say: Say) -> None:
    """Merges what is not merged yet, and lets the remaining snapshots know."""
    snapshots.set_note(connection, spec.domain, going.text(), (removal.PREFIX, removal.URI))
    state, _reason = domains.state(connection, spec.domain)
    left = [item for item in going.merges if _left(connection, spec, item)]
    if state == "stopped":
        _offline(connection, spec, left, say)
    elif state in ("running", "paused"):
        _online(connection, spec, left, say)
    else:
        raise Busy(
            f"{spec.what}: the domain is {state} now; run the task again when it runs or is off.", domain_state=state
        )
    _define(connection, spec, going)
    for snapshot in snapshots.tree(connection, spec.domain):
        document = xml.rewritten(snapshot.document, going.merges)
        if snapshot.name not in going.snapshots and document is not None:
            snapshots.create(connection, spec.domain, document, ("REDEFINE",))


def _chain(connection: t.Any, spec: SnapshotSpec, target: str) -> list[str]:
    """The files that a disk consists of now."""
    raw = domains.read(connection, spec.domain)
    if raw is None:
        raise KvmError(f"{spec.what}: the domain has gone meanwhile.")
    found = [disk for disk in xml.disks(raw.running_xml or raw.inactive_xml) if disk.target == target]
    if not found or not found[0].chain:
        return []
    if raw.running_xml is not None and len(found[0].chain) > 1:
        return found[0].paths
    return [layer.path for layer in layers.chain(found[0].chain[0])]


def _left(connection: t.Any, spec: SnapshotSpec, item: Merge) -> bool:
    chain = [os.path.realpath(path) for path in _chain(connection, spec, item.target)]
    return any(os.path.realpath(path) in chain for path in item.drop)


def _online(connection: t.Any, spec: SnapshotSpec, left: t.Sequence[Merge], say: Say) -> None:
    """All disks at once; each goes over as soon as all are ready, so that they stay together as long as they can."""
    started = time.monotonic()
    for item in left:
        if blockjobs.job(connection, spec.domain, item.target) is None:
            say(f"domain {spec.domain}: merging disk {item.target} into {item.base}")
            top = item.drop[0] if item.above is not None else None
            blockjobs.commit(connection, spec.domain, item.target, top, item.base)
    ready = [
        item for item in left if blockjobs.wait(connection, spec.domain, item.target, spec.wait_timeout, say, started)
    ]
    for item in ready:
        try:
            blockjobs.pivot(connection, spec.domain, item.target)
        except LibvirtError:
            # Another task may have done so in the same moment.
            if blockjobs.job(connection, spec.domain, item.target) is not None:
                raise
        blockjobs.settle(connection, spec.domain, item.target, _SHORT)
    for item in left:
        if _left(connection, spec, item):
            raise KvmError(
                f"{spec.what}: disk {item.target} was not merged into {item.base}: the block job has ended before its end (is there"
                " room? see qemu's log). Nothing is lost; run the task again.",
                disk=item.target,
            )


def _offline(connection: t.Any, spec: SnapshotSpec, left: t.Sequence[Merge], say: Say) -> None:
    """The files first, then those above: each step leaves every disk readable as it was."""
    deadline = time.monotonic() + spec.wait_timeout
    for item in left:
        say(f"domain {spec.domain}: merging disk {item.target} into {item.base}")
        _commit(spec, item, max(1.0, deadline - time.monotonic()))
    if domains.state(connection, spec.domain)[0] != "stopped":
        raise Busy(
            f"{spec.what}: somebody has started the domain, or removed it, while its disks were merged; run the task again."
        )


def _define(connection: t.Any, spec: SnapshotSpec, going: Removal) -> None:
    """Lets the definition name what the disks consist of now; a block job has seen to that already."""
    raw = domains.read(connection, spec.domain)
    if raw is None or not raw.persistent:
        return
    document = xml.merged(raw.inactive_xml, going.merges)
    if document != xml.merged(raw.inactive_xml, ()):
        domains.define(connection, spec.domain, document)


def _commit(spec: SnapshotSpec, item: Merge, timeout: float) -> None:
    program, what = _command.find("qemu-img", "qemu-utils"), f"{spec.what}: cannot merge {item.top} into {item.base}"
    # -d: the file stays as it is, and is readable until nobody names it any more.
    argv = [program, "commit", "-q", "-d", "-f", "qcow2", "-b", item.base, item.top]
    _command.run(argv, timeout=timeout, what=what)
    descriptor = os.open(item.base, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if item.above is not None:
        argv = [program, "rebase", "-q", "-u", "-f", "qcow2", "-F", item.base_format, "-b", item.base, item.above]
        _command.run(argv, timeout=_SHORT, what=what)


def finish(connection: t.Any, spec: SnapshotSpec, going: Removal) -> None:
    """The records are gone: now the files that nobody needs, then the note."""
    named = {
        os.path.realpath(path)
        for texts in domains.documents(connection).values()
        for text in texts
        for disk in xml.disks(text)
        for path in disk.paths
    }
    kept: list[str] = []
    for path in (*(path for item in going.merges for path in item.drop), *going.files):
        standing = [image for image, below in layers.images_in([os.path.dirname(path)]).items() if below == path]
        if os.path.realpath(path) in named or standing:
            kept.append(path)
            continue
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    snapshots.set_note(connection, spec.domain, None, (removal.PREFIX, removal.URI))
    if kept:
        raise Busy(f"{spec.what}: it is removed, but {' and '.join(kept)} came into use again, and stays.", files=kept)
