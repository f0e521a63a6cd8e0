# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the kernel's network block devices, served by qemu-nbd."""

from __future__ import annotations

import json
import os
import re
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import capabilities
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import daemon
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.image import Link
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import Record


def source(record: Record, chain: t.Sequence[Link]) -> str:
    """The file system's bytes in qemu's words, with all files and formats."""
    below: dict[str, t.Any] | None = None
    for link in reversed(chain):
        node: dict[str, t.Any] = {"driver": link.format, "file": {"driver": "file", "filename": link.path}}
        if link.format == "qcow2":
            node["backing"] = below
        below = node
    part = {"driver": "raw", "offset": record.offset, "size": record.size, "file": below}
    return "json:" + json.dumps(part)


def free(name: str) -> str:
    """A device that nobody uses; loads the kernel's module when it must. Raises KvmError when there is none."""
    if not os.path.isdir("/sys/module/nbd"):
        # Partitions are of no use here: only the bytes of a file system are ever shown.
        _command.run([_command.find("modprobe", "kmod"), "nbd", "max_part=0"], timeout=30, what=f"Cannot mount {name}")
    devices = [device for device in os.listdir("/sys/block") if re.fullmatch(r"nbd[0-9]+", device)]
    for device in sorted(devices, key=lambda item: int(item[3:])):
        if not os.path.exists(f"/sys/block/{device}/pid") and os.path.exists(f"/dev/{device}"):
            return f"/dev/{device}"
    raise KvmError(f"image {name}: there is no free nbd device on this host.")


def connect(record: Record, chain: t.Sequence[Link], timeout: float) -> None:
    """Shows the bytes as ``record.device``; qemu-nbd then keeps running."""
    device = str(record.device)
    argv = [_command.find(*capabilities.NBD), f"--connect={device}", f"--pid-file={record.pid_file}", "--discard=unmap"]
    if record.read_only:
        argv.append("--read-only")
    daemon.start(record, [*argv, source(record, chain)], timeout, f"Cannot open {record.path}")
    end = time.monotonic() + timeout
    # The program has forked before the kernel knows the size of the device.
    while _size(device) == 0:
        if time.monotonic() > end:
            raise KvmError(f"image {record.path}: {device} did not become ready within {timeout:g} s.")
        time.sleep(0.02)


def disconnect(device: str, timeout: float) -> None:
    """Lets the device go; its daemon then ends by itself."""
    argv = [_command.find(*capabilities.NBD), f"--disconnect={device}"]
    _command.run(argv, timeout=timeout, what=f"Cannot let {device} go")


def in_use(device: str) -> bool:
    """Whether somebody serves the device."""
    return os.path.exists(f"/sys/block/{os.path.basename(device)}/pid")


def _size(device: str) -> int:
    try:
        with open(f"/sys/block/{os.path.basename(device)}/size", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0
