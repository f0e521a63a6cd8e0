# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image bench: what kvm_image and kvm_image_info take, beside the commands that they replace. See README.md."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import typing as t
from pathlib import Path

import image_data
import image_verify
from common import BenchError, Targets, adopt_orphans, end_by_exception, run
from image_methods import Bench
from image_parts import compressed, extraction, grow, info, sparsify, states
from tasks import Controller, controller_programs

PACKAGES = {
    "blkid": "util-linux",
    "debugfs": "e2fsprogs",
    "e2image": "e2fsprogs",
    "losetup": "mount",
    "qemu-img": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "sfdisk": "fdisk",
}
PARTS: dict[str, t.Callable[[Bench], None]] = {
    "extraction": extraction,
    "compressed": compressed,
    "states": states,
    "info": info,
    "sparsify": sparsify,
    "grow": grow,
}


def _ready() -> None:
    if os.geteuid() != 0:
        raise BenchError("it needs root for loop devices and mounts: sudo ./run bench image")
    lacking = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if lacking:
        raise BenchError(f"programs of these packages are missing: {' '.join(lacking)}; install them")


def _machine(bench: Bench) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kind = run(["stat", "--file-system", "--format", "%T", bench.scratch]).strip()
    qemu = run(["qemu-img", "--version"]).splitlines()[0]
    print(
        f"{len(os.sched_getaffinity(0))} processors, {memory:.0f} GiB of memory, Linux {os.uname().release.split('-')[0]}, {kind}; {qemu};"
    )
    print(f"{bench.controller.version}; Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.1f} at the start.")
    print("Before every run all files are synced and those of the disks are dropped from the page cache;")
    print("the time of every method goes from the start of its first program to the end of the fsync of its result.")
    print("CPU seconds: of all its programs, not of the kernel's own threads (loop devices, writing back).", flush=True)


def _measure(args: argparse.Namespace, scratch: Path) -> None:
    layout = image_data.SMALL if args.quick else image_data.GUIDE
    (scratch / "results").mkdir()
    controller = Controller(args.controller or controller_programs(), scratch)
    disks = image_data.make_disks(scratch, layout)
    wanted = image_verify.digest(disks.sparse, layout.offset, layout.size)
    bench = Bench(scratch, layout, disks, controller, Targets(), wanted, 3 if args.quick else 5)
    _machine(bench)
    for name in args.only or PARTS:
        PARTS[name](bench)
    bench.targets.sum_up()


def main() -> int:
    """The command line; 0 when every result was right, however long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small disks and few runs, to try the bench itself")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="one part (may be repeated)")
    parser.add_argument("--scratch", type=Path, help="where to work, 10 GB (default: below /var/tmp)")
    parser.add_argument("--controller", type=Path, help="the folder of the ansible program (default: of ./run demo)")
    args = parser.parse_args()
    end_by_exception()
    scratch = None
    try:
        _ready()
        adopt_orphans()
        scratch = Path(tempfile.mkdtemp(prefix="bench-image-", dir=args.scratch or "/var/tmp"))
        _measure(args, scratch)
    except (BenchError, KeyboardInterrupt) as exc:
        print(f"bench image: {exc or 'stopped'}", file=sys.stderr)
        return 1
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
