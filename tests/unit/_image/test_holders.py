# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: who has a file open, seen on real processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import holders

_OPEN = "import os, sys, time; os.open(sys.argv[1], int(sys.argv[2])); print(flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("holder", "minds"),
    [
        (holders.Holder(1, "dd", None, True), True),
        (holders.Holder(1, "sha256sum", None, False), False),
        (holders.Holder(1, "qemu-nbd", None, False), True),
        (holders.Holder(1, "qemu-system-x86_64", "web1", False), True),
        (holders.Holder(0, "/dev/loop3", None, False, "/dev/loop3"), False),
        (holders.Holder(0, "/dev/loop3", None, False, "/dev/loop3", ("/mnt",)), True),
    ],
)
def test_who_minds_a_change(holder: holders.Holder, minds: bool) -> None:
    assert holder.minds is minds


@contextlib.contextmanager
def opened(path: pathlib.Path, flags: int, *words: str, name: str | None = None) -> t.Iterator[int]:
    """A process that has the file open; ``name`` is what it calls itself."""
    argv = [name or sys.executable, "-c", _OPEN, str(path), str(flags), *words]
    with subprocess.Popen(argv, executable=sys.executable, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(name="image")
def _image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


def test_nobody_has_it(image: pathlib.Path) -> None:
    assert holders.holders(str(image)) == []
    assert holders.holders(str(image.parent / "missing")) == []


def test_this_process_does_not_count(image: pathlib.Path) -> None:
    with image.open("r+b"):
        assert holders.holders(str(image)) == []


@pytest.mark.parametrize(("flags", "writing"), [(os.O_RDONLY, False), (os.O_WRONLY, True), (os.O_RDWR, True)])
def test_a_process_is_named(image: pathlib.Path, flags: int, writing: bool) -> None:
    with opened(image, flags) as pid:
        (found,) = holders.holders(str(image))
    assert (found.pid, found.writing, found.domain, found.device) == (pid, writing, None, None)
    assert str(found) == f"process {pid} ({os.path.basename(sys.executable)})"


def test_other_names_of_the_file_count(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    link, symlink = tmp_path / "hard", tmp_path / "soft"
    os.link(image, link)
    symlink.symlink_to(image)
    with opened(link, os.O_RDWR) as pid:
        assert [holder.pid for holder in holders.holders(str(symlink))] == [pid]


def test_another_file_with_the_same_name_does_not(image: pathlib.Path) -> None:
    with opened(image, os.O_RDWR):
        image.unlink()
        image.write_bytes(b"")
        assert holders.holders(str(image)) == []


@pytest.mark.parametrize(
    ("words", "domain"),
    [
        (["-name", "guest=web1,debug-threads=on"], "web1"),
        (["-name", "debug-threads=on,guest=web1"], "web1"),
        (["-S", "-name", "web1", "-m", "1"], "web1"),
        (["-name", "guest=a,,b=c"], "a,b=c"),
        (["-name", "guest=\x1b[2J\n"], "?[2J?"),
        (["-name"], None),
        ([], None),
    ],
)
def test_a_domain_is_named(image: pathlib.Path, words: list[str], domain: str | None) -> None:
    with opened(image, os.O_RDWR, *words, name="/usr/bin/qemu-system-x86_64") as pid:
        (found,) = holders.holders(str(image))
    assert (found.pid, found.command, found.domain) == (pid, "qemu-system-x86_64", domain)
    if domain == "web1":
        assert str(found) == f"the domain web1 (process {pid}, qemu-system-x86_64)"


def test_what_is_no_qemu_has_no_domain(image: pathlib.Path) -> None:
    with opened(image, os.O_RDWR, "-name", "guest=web1", name="vi\nm") as pid:
        (found,) = holders.holders(str(image))
    assert (found.pid, found.command, found.domain) == (pid, "vi?m", None)


def test_a_loop_device_is_named(image: pathlib.Path) -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs root and loop devices")
    done = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, timeout=20, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        (found,) = holders.holders(str(image))
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=20)
    assert (found.pid, found.device, found.writing, found.mounts) == (0, device, True, ())
    assert str(found) == device
    assert holders.holders(str(image)) == []
