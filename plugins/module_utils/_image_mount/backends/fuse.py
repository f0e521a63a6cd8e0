# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: a file system's bytes as a file, by qemu's storage daemon and FUSE.

The daemon is told each file and its format, so no header decides what it opens. It has qemu's own lock on the image for as
long as it runs, so no domain can start with it.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError, ToolError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import capabilities
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import daemon
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Link
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record


def graph(record: Record, chain: t.Sequence[Link]) -> list[dict[str, t.Any]]:
    """qemu's block nodes, each after those it stands on; the last one, ``range``, is the file system's bytes."""
    nodes: list[dict[str, t.Any]] = []
    below: str | None = None
    for index, link in reversed(list(enumerate(chain))):
        read_only = record.read_only or index > 0
        nodes.append(
            {
                "driver": "file",
                "node-name": f"file{index}",
                "filename": link.path,
                "read-only": read_only,
                "locking": "on",
                "discard": "unmap",
            }
        )
        node: dict[str, t.Any] = {"driver": link.format, "node-name": f"disk{index}", "file": f"file{index}"}
        if link.format == "qcow2":
            node["backing"] = below
        nodes.append({**node, "read-only": read_only, "discard": "unmap"})
        below = f"disk{index}"
    part = {"driver": "raw", "node-name": "range", "file": below, "offset": record.offset, "size": record.size}
    return [*nodes, {**part, "read-only": record.read_only, "discard": "unmap"}]


def start(record: Record, chain: t.Sequence[Link], timeout: float) -> None:
    """Starts the daemon; the bytes are then in the file ``record.export``. Raises Busy when qemu's lock is taken."""
    program = _command.find(*capabilities.QSD)
    os.makedirs(record.work, mode=0o700, exist_ok=True)
    with open(record.export, "wb"):
        pass  # the daemon needs a file to show the bytes at
    argv = [program, "--daemonize", "--pidfile", record.pid_file]
    for node in graph(record, chain):
        argv += ["--blockdev", json.dumps(node)]
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "range",
        "mountpoint": record.export,
        "writable": not record.read_only,
        "growable": False,
    }
    try:
        daemon.start(record, [*argv, "--export", json.dumps(export)], timeout, f"Cannot open {record.path}")
    except ToolError as exc:
        if '"write" lock' in exc.message or "Failed to get" in str(exc.details.get("stderr")):
            raise Busy(
                f"image {record.path}: another program of qemu uses it; stop that first.", **exc.details
            ) from exc
        raise


def mount_ext(record: Record, timeout: float) -> None:
    """Mounts the file system in ``record.export`` by a program that reads ext2, ext3 and ext4, without the kernel."""
    program = _command.find(*capabilities.FUSE2FS)
    options = "ro,norecovery" if record.read_only else "rw"
    argv = [program, record.export, record.mountpoint, "-o", f"{options},nosuid,nodev,noexec"]
    done = daemon.start(record, argv, timeout, f"Cannot mount {record.path}", ok=())
    if done.rc != 0:
        last = (done.stderr_tail or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise KvmError(
            f"image {record.path}: fuse2fs does not mount its file system: {' '.join(last)[:300]}",
            cmd=list(done.argv),
            rc=done.rc,
            stderr=done.stderr_tail,
        )
