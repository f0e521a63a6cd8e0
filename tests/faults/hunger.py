# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is taken away from a task: room on the disk, the right to write, a program. In the test's own mount namespace."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import typing as t

from ground import run

_PAGE = 4096


def squeeze(scratch: str, leave: int) -> None:
    """Makes the scratch folder so small that ``leave`` bytes are free in it; nothing has to be written for that."""
    found = os.statvfs(scratch)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    run("mount", "-o", f"remount,size={used + leave - leave % _PAGE}", scratch)


def relax(scratch: str, size: str = "3g") -> None:
    """Gives the room back."""
    run("mount", "-o", f"remount,size={size}", scratch)


@contextlib.contextmanager
def read_only(folder: str) -> t.Iterator[None]:
    """Nobody can write to the folder, as on a disk that the kernel found broken."""
    run("mount", "--bind", folder, folder)
    try:
        run("mount", "-o", "remount,bind,ro", folder)
        yield
    finally:
        run("umount", folder)


@contextlib.contextmanager
def immutable(path: str) -> t.Iterator[None]:
    """Not even root can change the file or folder (chattr +i)."""
    run("chattr", "+i", path)
    try:
        yield
    finally:
        run("chattr", "-i", path)


def can_be_immutable(folder: str) -> bool:
    """Whether the file system knows that; tmpfs does since Linux 6.6."""
    path = f"{folder}/immutable"
    with open(path, "xb"):
        pass
    able = subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode == 0
    subprocess.run(["chattr", "-i", path], capture_output=True, check=False)
    os.unlink(path)
    return able


@contextlib.contextmanager
def instead(program: str, script: str | None, scratch: str) -> t.Iterator[None]:
    """The program at this path is another one for everybody: a shell script, or nothing that can be started (None)."""
    there = os.path.realpath(program)
    # Outside of what is looked through for leftovers, and of what is squeezed.
    stand_in = f"{scratch}/stand-in"
    with open(stand_in, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\n{script}\n" if script is not None else "")
    os.chmod(stand_in, 0o755 if script is not None else 0o644)
    run("mount", "--bind", stand_in, there)
    try:
        yield
    finally:
        run("umount", there)
        os.unlink(stand_in)


def package_of(program: str) -> str | None:
    """The Debian package that has a program; None where that cannot be told."""
    if shutil.which("dpkg") is None:
        return None
    there = os.path.realpath(program)
    # With a merged /usr, packages still have the old names of their files.
    for path in (there, there.removeprefix("/usr")):
        done = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.split(":")[0]
    return None


def programs(steps: t.Iterable[str]) -> list[str]:
    """The programs that a task started itself, or had started by unshare, by their paths."""
    found = set()
    for step in steps:
        name, _space, words = step.partition(" ")
        if name == "subprocess.Popen":
            # The description may be cut off.
            argv = [word.strip("'\"[]") for word in words.split(", ")]
            found |= {word for word in argv if "/bin/" in word or "/sbin/" in word}
    return sorted(path for path in found if os.access(path, os.X_OK))
