# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A qcow2 as a raw file, the way in which images are changed in place: the mount is in a name space of the daemon."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import time
import typing as t

#: Why there is none here (None: there is).
MISSING = None if os.geteuid() == 0 and os.access("/dev/fuse", os.W_OK) else "needs root and FUSE"


@contextlib.contextmanager
def exported(folder: pathlib.Path, raw: pathlib.Path) -> t.Iterator[tuple[pathlib.Path, subprocess.Popen[bytes]]]:
    """The content of ``raw`` as a qcow2 in ``folder``, shown as a raw file by a daemon; both."""
    disk, point, ready = folder / "disk.qcow2", folder / "flat", folder / "pid"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], check=True)
    point.touch()
    argv = ["unshare", "--mount", "--propagation", "private", "--", "qemu-storage-daemon", "--pidfile", str(ready)]
    argv += ["--blockdev", f"driver=file,filename={disk},node-name=f", "--blockdev", "driver=qcow2,file=f,node-name=d"]
    argv += ["--export", f"type=fuse,id=e,node-name=d,mountpoint={point},writable=on"]
    with subprocess.Popen(argv) as daemon:
        try:
            while not ready.exists():
                assert daemon.poll() is None
                time.sleep(0.01)
            yield pathlib.Path(f"/proc/{daemon.pid}/root{point}"), daemon
        finally:
            daemon.terminate()
            daemon.wait()


def converted_back(folder: pathlib.Path, raw: pathlib.Path) -> None:
    """What is in the qcow2 now, as a raw file."""
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", folder / "disk.qcow2", raw], check=True)
