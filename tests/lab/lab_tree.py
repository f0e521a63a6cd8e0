# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root trees of lab hosts, built from the lab's archive, and a folder of wheels for pip on them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab_archive import BARE_PACKAGES, HOST_PACKAGES, SUITES, current_archive
from lab_cache import cache_folder, key_of, locked, prune, run_tool, say
from lab_errors import LabError

HERE = Path(__file__).resolve().parent
VARIANTS: dict[str, list[str]] = {"host": HOST_PACKAGES, "bare": BARE_PACKAGES}
PYTHONS = {"3.11": "311", "3.13": "313"}  # of bookworm and trixie: the wheels are for both
_PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def build_tree(suite: str, variant: str = "host") -> Path:
    """Return the root tree of a lab host (a folder that nobody may write); build it when the cache has none.

    ``bare`` is a fresh Debian server with systemd, sshd, Python and sudo; ``host`` has libvirt and qemu as well.
    """
    if suite not in SUITES or variant not in VARIANTS:
        raise LabError(
            f"there is no lab tree {suite}:{variant}: suites are {', '.join(SUITES)}, variants host and bare"
        )
    packages = VARIANTS[variant]
    hook = HERE / "tree_hook.sh"
    key = key_of([*packages, hook.read_text(encoding="utf-8")])
    folder = cache_folder() / "tree" / f"{suite}-{variant}-{key}"
    with locked(f"tree-{suite}-{variant}"):
        if not folder.exists():
            say(f"building the root tree {suite}:{variant} (about a minute)")
            archive = current_archive(suite)
            part = folder.with_name(folder.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.parent.mkdir(parents=True, exist_ok=True)
            run_tool(
                [
                    "mmdebstrap",
                    "--quiet",
                    "--mode=root",
                    "--format=directory",
                    "--variant=minbase",
                    f"--include={','.join(packages)}",
                    f'--customize-hook={hook} "$1"',
                    suite,
                    str(part),
                    f"deb [trusted=yes] copy://{archive} {suite} main",
                ],
                f"the tree {suite}:{variant}",
            )
            part.rename(folder)
        folder.touch()
        prune(cache_folder() / "tree", f"{suite}-{variant}-*", keep=2)
    return folder


def download_wheels(requirements: Path) -> Path:
    """Download the wheels of a requirements file for every Python of the lab's hosts; return the folder.

    It collects: what an earlier call brought stays, so that several requirement files can be served together.
    """
    if not requirements.is_file():
        raise LabError(f"there is no requirements file {requirements}")
    folder = cache_folder() / "wheels"
    folder.mkdir(exist_ok=True)
    machine = run_tool(["uname", "-m"], "architecture").strip()
    for version, digits in PYTHONS.items():
        platforms = [f"--platform={name}_{machine}" for name in _PLATFORMS]
        run_tool(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--dest",
                str(folder),
                "--only-binary=:all:",
                "--implementation=cp",
                f"--python-version={version}",
                f"--abi=cp{digits}",
                "--abi=abi3",
                "--abi=none",
                *platforms,
                "-r",
                str(requirements),
            ],
            f"the wheels of {requirements} for Python {version}",
        )
    return folder
