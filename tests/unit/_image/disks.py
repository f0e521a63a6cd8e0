# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks for the tests, made and read by the usual programs and without root."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
#: What stands in a folder: text, bytes, None for a folder, a Link.
Files = t.Mapping[str, t.Any]


class Link(str):
    """The target of a symbolic link."""

    __slots__ = ()


def find(program: str) -> str:
    """A program also from the sbin folders; without it the test is skipped."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"the program {program} is not installed")
    return path


def run(*words: object, stdin: str | None = None, ok: t.Collection[int] = (0,)) -> str:
    """The output of a program; both outputs when it fails."""
    argv = [find(str(words[0])), *map(str, words[1:])]
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode in ok, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def plant(folder: pathlib.Path, files: Files) -> pathlib.Path:
    """Files in a folder of this host."""
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, Link):
            path.symlink_to(content)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def make_ext(
    path: pathlib.Path, size: int, files: Files | None = None, *, offset: int = 0, kind: str = "ext4", **options: str
) -> pathlib.Path:
    """An ext file system with files in a raw file, also in the middle of one; ``label``, ``uuid``, ``features``."""
    tree = path.with_name(f"{path.name}.tree{offset}")
    tree.mkdir()
    plant(tree, files or {})
    words = ["-L", options["label"]] if "label" in options else []
    words += ["-U", options["uuid"]] if "uuid" in options else []
    words += ["-O", options["features"]] if "features" in options else []
    extended = f"root_owner=0:0,lazy_itable_init=1,nodiscard,offset={offset}"
    if not path.exists():
        path.touch()
        os.truncate(path, offset + size)
    run("mke2fs", "-q", "-F", "-t", kind, "-b", 4096, *words, "-E", extended, "-d", tree, path, f"{size // KIB}k")
    shutil.rmtree(tree)
    return path


def partitioned(path: pathlib.Path, size: int, script: str) -> pathlib.Path:
    """A disk with a partition table, as sfdisk reads it."""
    path.touch()
    os.truncate(path, size)
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", path, stdin=script)
    return path


def check_ext(path: object, offset: int = 0) -> None:
    """Fails unless the file system is without any fault."""
    run("e2fsck", "-f", "-n", path if not offset else f"{path}?offset={offset}")


def debugfs(path: object, command: str) -> str:
    """The answer of a command of debugfs."""
    return run("debugfs", "-R", command, path)


def identical(left: tuple[object, str], right: tuple[object, str]) -> bool:
    """Whether two images (path, format) have the same content for qemu-img."""
    words = ["-f", left[1], "-F", right[1], left[0], right[0]]
    return "identical" in run("qemu-img", "compare", *words, ok=(0, 1))
