# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts of images: who uses a folder, and how they are ended, with real processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount import holders
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.backends import daemon

_HEAD = "import mmap, os, signal, sys, time\npath = sys.argv[1]\n"
_TAIL = "\nprint(flush=True)\ntime.sleep(60)"


@contextlib.contextmanager
def running(path: pathlib.Path, code: str, name: str = sys.executable, *words: str) -> t.Iterator[int]:
    """A process that does something with the file."""
    argv = [name, "-c", _HEAD + code + _TAIL, str(path), *words]
    with subprocess.Popen(argv, executable=sys.executable, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(name="file")
def _file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "mount" / "file"
    path.parent.mkdir()
    path.write_text("text")
    (tmp_path / "mounted").mkdir()
    return path


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("os.chdir(os.path.dirname(path))", "working directory"),
        ("keep = open(path)", "file {}"),
        ("keep = open(path)\nos.unlink(path)", "file {} (deleted)"),
        ("keep = mmap.mmap(os.open(path, 0), 0, prot=mmap.PROT_READ)\nos.closerange(3, 99)", "file {}"),
    ],
)
def test_whoever_uses_it_is_found(file: pathlib.Path, code: str, what: str) -> None:
    with running(file, code) as pid:
        (found,) = holders.users(str(file.parent))
        assert (found.pid, found.what) == (pid, (what.format(file),))
        assert holders.alive(found)
        # A folder whose name only begins alike is another one.
        assert holders.users(str(file.parent.parent / "mou")) == []
    assert not holders.alive(found)
    assert holders.users(str(file.parent)) == []


def test_many_files_are_a_few_words(file: pathlib.Path) -> None:
    with running(file, "keep = [open(path + str(n) + '\\x1b', 'w') for n in range(9)]"):
        (found,) = holders.users(str(file.parent))
    assert len(found.what) == 4
    assert found.what[3] == "6 more files"
    assert "\x1b" not in str(found)


def test_signals_reach_that_process_only(file: pathlib.Path) -> None:
    with running(file, "keep = open(path)") as pid:
        (found,) = holders.users(str(file.parent))
        later = holders.User(pid, "1" + found.start, "x", ())
        holders.tell([later], signal.SIGKILL)
        assert holders.wait_until_gone(lambda: [found] if holders.alive(found) else [], 0.3) == [found]
        holders.tell([found], signal.SIGTERM)
        assert holders.wait_until_gone(lambda: [found] if holders.alive(found) else [], 10) == []
    holders.tell([found], signal.SIGKILL)


def test_waiting_ends(file: pathlib.Path) -> None:
    assert holders.wait_until_gone(lambda: [1], 0) == [1]
    with running(file, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nkeep = open(path)"):
        (found,) = holders.users(str(file.parent))
        holders.tell([found], signal.SIGTERM)
        assert holders.wait_until_gone(lambda: holders.users(str(file.parent)), 0.3) == [found]


def test_those_who_started_this_process_are_known() -> None:
    found = holders.ancestors()
    assert {os.getpid(), os.getppid()} <= found
    assert len(found) < 100


def test_daemons_are_known_by_a_word_in_their_environment(file: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = str(file.parent)
    monkeypatch.setenv("KVM_IMAGE_MOUNT", work)
    with running(file, "pass", "/usr/bin/qemu-storage-daemon") as pid:
        (found,) = daemon.servers(work)
        assert (found.pid, found.command) == (pid, "qemu-storage-daemon")
        assert daemon.servers(work[:-1]) == []
    monkeypatch.delenv("KVM_IMAGE_MOUNT")
    with running(file, "pass", "/usr/bin/qemu-storage-daemon"):
        assert daemon.servers(work) == []
