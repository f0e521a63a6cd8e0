# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs: real ones, of the machine."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import sys
import time

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import ToolError, ToolMissing

SH = "/bin/sh"


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has)."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gone(pid)


def test_output_and_exit_code() -> None:
    done = _command.run([SH, "-c", "echo out; echo err >&2; exit 3"], timeout=10, ok=(0, 3))
    assert (done.rc, done.stdout, done.stderr, done.stderr_tail) == (3, "out\n", "err\n", "err")
    assert done.seconds < 10


def test_a_program_that_is_only_asked() -> None:
    done = _command.ask([SH, "-c", "echo out; echo err >&2; echo $LC_ALL; exit 3"], timeout=10, ok=(0, 3))
    assert (done.rc, done.stderr) == (3, "err\n")
    assert done.stdout.endswith("t\nC\n")
    with open(os.devnull, encoding="ascii") as file:
        argv = [SH, "-c", f"cat; readlink /proc/self/fd/{file.fileno()}"]
        assert _command.ask(argv, timeout=10, stdin="ä ", pass_fds=[file.fileno()]).stdout == "ä /dev/null\n"
    assert _command.ask(["/bin/true"], timeout=10, stdin="x" * 1_000_000).rc == 0
    with pytest.raises(ToolError, match="Cannot ask: sh failed with exit code 4: no"):
        _command.ask([SH, "-c", "echo no; exit 4"], timeout=10, what="Cannot ask")
    with pytest.raises(ToolMissing):
        _command.ask(["/nowhere/program"], timeout=10)
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"did not end within 0\.5 s"):
        _command.ask([SH, "-c", "sleep 30 & sleep 30"], timeout=0.5)
    assert time.monotonic() - started < 10


def test_several_are_asked_before_any_has_answered() -> None:
    much = _command.Asked(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 3"])
    little = _command.Asked(["cat"], "said")
    assert little.answer(timeout=60).stdout == "said"
    done = much.answer(timeout=60, ok=(3,))
    assert (done.stdout, done.rc) == ("x" * 3000000, 3)
    # It is known from then on.
    assert much.answer(timeout=60, ok=()).stdout == done.stdout
    with pytest.raises(ToolError, match="exit code 3"):
        much.answer(timeout=60)


def test_who_asks_again_is_told_again_that_there_was_no_answer() -> None:
    silent = _command.Asked(["sleep", "30"])
    for _again in range(2):
        with pytest.raises(ToolError, match=r"did not end within 0\.2 s"):
            silent.answer(timeout=0.2, ok=())


def test_what_nobody_needs_to_know_any_more_is_ended() -> None:
    endless = _command.Asked(["sh", "-c", "yes"], "said")
    answered = _command.Asked(["echo", "said"])
    answered.answer(timeout=60)
    for asked in (endless, answered):
        asked.drop()
    assert answered.answer(timeout=60).stdout == "said\n"
    for asked in (endless, answered):
        with pytest.raises(ProcessLookupError):
            os.kill(asked.pid, 0)


def test_words_are_not_read_by_a_shell() -> None:
    assert _command.run(["/bin/echo", "$(id)", "; id", "a  b"], timeout=10).stdout == "$(id) ; id a  b\n"


def test_input_as_text_and_as_bytes() -> None:
    assert _command.run(["/bin/cat"], timeout=10, stdin="ä\n").stdout == "ä\n"
    assert _command.run(["/bin/cat"], timeout=10, stdin=b"b").stdout == "b"
    assert _command.run(["/bin/cat"], timeout=10).stdout == ""


def test_a_program_that_does_not_read_its_input() -> None:
    assert _command.run(["/bin/true"], timeout=10, stdin="x" * 1_000_000).rc == 0


def test_a_failure_is_a_sentence_with_details() -> None:
    with pytest.raises(ToolError) as error:
        _command.run([SH, "-c", "echo first >&2; echo the disk is full >&2; exit 4"], timeout=10, what="Cannot build x")
    assert error.value.message == "Cannot build x: sh failed with exit code 4: the disk is full"
    assert error.value.details["rc"] == 4
    assert error.value.details["cmd"][0] == SH
    assert error.value.details["stderr"] == "first\nthe disk is full"


def test_the_tail_of_the_error_output_is_bounded() -> None:
    with pytest.raises(ToolError) as error:
        _command.run([SH, "-c", "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; exit 1"], timeout=30)
    lines = error.value.details["stderr"].splitlines()
    assert len(lines) <= 40
    assert lines[-1] == "line 499"


def test_a_missing_program() -> None:
    with pytest.raises(ToolMissing, match="no-such-program"):
        _command.run(["/usr/bin/no-such-program"], timeout=10)
    with pytest.raises(ToolMissing, match="install the package some-package"):
        _command.find("no-such-program", "some-package")


def test_find_looks_into_sbin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert _command.find("sh", "dash").endswith("/sh")


def test_locale_and_environment() -> None:
    done = _command.run([SH, "-c", 'echo "$LC_ALL $EXTRA"'], timeout=10, env={"EXTRA": "1"})
    assert done.stdout == "C 1\n"


def test_time_out_ends_the_whole_process_group(tmp_path: pathlib.Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/own; wait"
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"sh did not end within 0\.5 s"):
        _command.run([SH, "-c", script], timeout=0.5)
    assert time.monotonic() - started < 8
    for name in ("child", "own"):
        assert wait_until_gone(int((tmp_path / name).read_text())), name


def test_time_out_ends_a_program_that_ignores_sigterm() -> None:
    with pytest.raises(ToolError, match="did not end"):
        _command.run([SH, "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"], timeout=0.5)


def test_a_program_dies_with_the_one_that_started_it(tmp_path: pathlib.Path) -> None:
    """The module killed with SIGKILL: what it started must not go on writing."""
    name = _command.__name__
    code = f"from {name} import run; run([{SH!r}, '-c', 'echo $$ > {tmp_path}/own; exec sleep 300'], timeout=300)"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": ":".join(sys.path)})
    try:
        deadline = time.monotonic() + 20
        own = tmp_path / "own"
        while not (own.exists() and own.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.02)
        child = int(own.read_text())
        assert not gone(child)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert wait_until_gone(child)


def test_a_signal_is_named() -> None:
    with pytest.raises(ToolError, match="was ended by signal 9"):
        _command.run([SH, "-c", "kill -9 $$"], timeout=10)


def test_lines_come_while_the_program_runs() -> None:
    seen: list[tuple[str, float]] = []
    started = time.monotonic()
    _command.run(
        [SH, "-c", "echo one; sleep 1; echo two >&2"],
        timeout=10,
        on_line=lambda line: seen.append((line, time.monotonic() - started)),
    )
    assert [line for line, _at in seen] == ["one", "two"]
    assert seen[0][1] < seen[1][1] - 0.5


def test_limits_hold(tmp_path: pathlib.Path) -> None:
    limits = _command.Limits(file_size=4096)
    with pytest.raises(ToolError):
        _command.run([SH, "-c", "head -c 100000 /dev/zero > big"], timeout=10, limits=limits, cwd=str(tmp_path))
    memory = _command.Limits(address_space=200 << 20)
    with pytest.raises(ToolError, match=re.compile("MemoryError")):
        _command.run([sys.executable, "-c", "x = bytearray(1 << 30)"], timeout=20, limits=memory)


def test_output_that_is_no_text() -> None:
    assert _command.run([SH, "-c", r"printf '\377\n'"], timeout=10).stdout == "\ufffd\n"


def test_programs_of_root_are_found_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    seen = _command.run(["sh", "-c", "echo $PATH"], timeout=10).stdout.strip().split(":")
    assert seen[:2] == ["/usr/bin", "/bin"]
    assert {"/usr/sbin", "/sbin"} <= set(seen)


ECHO = "import sys\nfor line in sys.stdin:\n    print(line.strip().upper(), flush=True)\n"


def test_a_conversation_answers_each_line_and_ends() -> None:
    process = _command.converse([sys.executable, "-c", ECHO])
    # More than a pipe holds, in both directions at once.
    lines = [f"{number} " + "x" * 10_000 for number in range(200)]
    process.tell(lines)
    assert [process.hear(30) for _line in lines] == [line.upper() for line in lines]
    process.tell(["once more"])
    assert process.hear(30) == "ONCE MORE"
    process.end()
    assert process._process.returncode == 0


def test_a_conversation_that_breaks_off_says_why() -> None:
    process = _command.converse(
        [sys.executable, "-c", "import sys; input(); print('a', flush=True); sys.exit('it broke')"]
    )
    process.tell(["1", "2"])
    assert process.hear(30) == "a"
    with pytest.raises(ToolError, match="it broke"):
        process.hear(30)
    process.end()


def test_a_conversation_that_hangs_is_ended() -> None:
    process = _command.converse([sys.executable, "-c", "input(); import time; time.sleep(600)"])
    process.tell(["1"])
    with pytest.raises(ToolError, match=r"did not end within 0.2 s"):
        process.hear(0.2)
    assert wait_until_gone(process._process.pid)
