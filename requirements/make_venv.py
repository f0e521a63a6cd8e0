# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the private virtual environments below ``.venv``; one that is up to date is left alone at once.

``make_venv.py NAME`` makes ``.venv/NAME`` from ``requirements/NAME.txt`` with the interpreter that runs it.
Only the standard library, because this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent
VENVS = REQUIREMENTS.parent / ".venv"


class VenvError(Exception):
    """A virtual environment could not be made; the text says which and why."""


def _stamp(requirements: Path, python: str, site: bool, target: Path) -> str:
    """What the environment depends on: its place too, because its scripts name it."""
    version = subprocess.run([python, "-VV"], check=True, capture_output=True, text=True, timeout=30).stdout
    parts = [requirements.read_text(encoding="utf-8"), python, version, str(site), str(target)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, check=False, timeout=1800)
    if done.returncode != 0:
        raise VenvError(f"{what} failed (exit code {done.returncode}, see above).")


def make_venv(name: str, requirements: str | None = None, python: str = sys.executable, site: bool = False) -> Path:
    """Makes ``.venv/NAME`` from ``requirements/REQUIREMENTS.txt`` (None: of the same name) and returns its path.

    ``site``: it sees the packages of the interpreter's distribution too (python3-libvirt). Raises VenvError.
    """
    target = VENVS / name
    listed = REQUIREMENTS / f"{requirements or name}.txt"
    VENVS.mkdir(exist_ok=True)
    with open(VENVS / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp_file = target / "stamp"
        stamp = _stamp(listed, python, site, target)
        if stamp_file.is_file() and stamp_file.read_text(encoding="utf-8") == stamp:
            return target
        print(f"==> Installing requirements/{listed.name} into .venv/{name}, once ({python}) ...", flush=True)
        started = time.monotonic()
        if target.exists():
            shutil.rmtree(target)
        _run([python, "-m", "venv", *(["--system-site-packages"] if site else []), str(target)], f"Making .venv/{name}")
        pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        _run([*pip, "--progress-bar", "off", "-r", str(listed)], f"Installing requirements/{listed.name}")
        stamp_file.write_text(stamp, encoding="utf-8")
        print(f"    done in {time.monotonic() - started:.0f} s", flush=True)
    return target


def main() -> int:
    """The command line; the exit code says whether the environment is there."""
    parser = argparse.ArgumentParser(description="Make a private virtual environment below .venv.")
    parser.add_argument("name")
    args = parser.parse_args()
    # A virtual environment of the caller must not become the base of ours.
    os.environ.pop("PYTHONHOME", None)
    os.environ.pop("PYTHONPATH", None)
    try:
        make_venv(args.name)
    except (VenvError, OSError, subprocess.SubprocessError) as exc:
        print(f"Cannot make .venv/{args.name}: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
