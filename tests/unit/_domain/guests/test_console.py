# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what a console shows is harmless, and a pattern is found in it however it comes."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import seen_log
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import text
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.console import Console, Follower, size
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(max_size=400))
def test_nothing_in_a_line_moves_a_terminal(data: bytes) -> None:
    for line in text.lines(data):
        assert line
        assert all(char.isprintable() for char in line)
        assert len(line) <= text.WIDEST + 3


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\x1b[0;32m[  OK  ]\x1b[0m Started\r\n", ["[  OK  ] Started"]),
        (b"\x1b]0;title\x07a\n\x1b]8;;http://x\x1b\\b\n", ["a", "b"]),
        (b"10%\r20%\r", ["10%", "20%"]),
        (b"\x1b[2J\x1b[H\n \n", []),
        ("\u202eevil\u2066 a\u200b\n".encode(), ["evil a"]),
        (b"a\tb\n", ["a       b"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"x" * 5000, ["x" * text.WIDEST + "..."]),
    ],
)
def test_lines(data: bytes, lines: list[str]) -> None:
    assert text.lines(data) == lines


@given(
    st.lists(st.integers(1, 60), max_size=12), st.sampled_from(["^web1 login:$", r"web1 login: $", "up in [0-9]+ s"])
)
def test_a_pattern_is_found_however_the_text_is_cut(cuts: list[int], pattern: str) -> None:
    said = b"\x1b[0mBooting\r\n[ 1.2] up in 12 s\r\n\r\n\x1b[32mweb1 login: "
    console = Console(pattern)
    for cut in cuts:
        console.feed(said[:cut])
        said = said[cut:]
    console.feed(said)
    assert console.matched is not None
    assert console.tail()[-1] == "web1 login:"


def test_a_pattern_that_is_not_there() -> None:
    console = Console("login:")
    console.feed(b"log\nin:\n")
    assert console.matched is None
    nothing = Console(None)
    nothing.feed(b"login:\n")
    assert nothing.matched is None


def test_a_line_without_an_end_does_not_grow_for_ever() -> None:
    console = Console("end")
    for _time in range(50):
        console.feed(b"x" * 1000)
    console.feed(b"end")
    assert console.matched is not None
    assert len(console.tail()) == 1


def test_a_log_is_followed(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    follower = Follower(str(log), mark=size(str(log)))
    assert follower.read() == b""
    with log.open("ab") as file:
        file.write(b"after\n")
    assert follower.read() == b"after\n"
    # Emptied, as qemu does at a start.
    log.write_bytes(b"new\n")
    assert follower.read() == b"new\n"
    # Another one in its place, as libvirt's log daemon does.
    other = tmp_path / "other"
    other.write_bytes(b"of another file, and longer\n")
    os.replace(other, log)
    assert follower.read() == b"of another file, and longer\n"
    log.unlink()
    with pytest.raises(FileNotFoundError):
        follower.read()


def test_of_a_long_log_only_the_end_is_read(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    data = Follower(str(log)).read()
    assert len(data) == 1 << 20
    assert data.endswith(b"end")


def test_a_pipe_or_a_folder_blocks_nobody(tmp_path: pathlib.Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(OSError, match=r"."):
            Follower(str(path)).read()
    assert size(None) == size(str(tmp_path / "none")) == 0


def test_qemus_log_without_its_command_line() -> None:
    lines = [
        "2026-01-01 00:00:00.000+0000: starting up libvirt version: 9.0.0", "LC_ALL=C \\", "/usr/bin/qemu \\", "-msg x",
        "an old error", "2026-01-02 00:00:00.000+0000: starting up libvirt version: 9.0.0", "LC_ALL=C \\", "/usr/bin/qemu",
        "qemu: could not open", "shutting down, reason=failed",
    ]  # fmt: skip
    assert seen_log.last_start(lines) == [lines[5], *lines[8:]]
    assert seen_log.last_start(["alone"]) == ["alone"]
    assert seen_log.last_start([]) == []
