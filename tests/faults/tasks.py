# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks: a module with its options as a process of its own, which can be killed at a chosen step or at a chosen time.

The module's ``main`` runs in a fork of this program, with its options where AnsibleModule looks for them, and its result
is read from the JSON that it prints: the same code as behind ansible, without the second that it takes to get there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
import typing as t

from ansible.module_utils.testing import patch_module_args

_MODULES = "ansible_collections.hypervisor.kvm.plugins.modules"
#: What changes something outside of the process, or starts a program: before each of these a kill is tried.
_STEPS = {
    "os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown",
    "subprocess.Popen", "fcntl.flock", "fcntl.ioctl",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclasses.dataclass(frozen=True)
class Result:
    """What a task gave. ``rc`` is the exit code, negative for a signal; ``data`` what the module printed as JSON."""

    rc: int
    data: dict[str, t.Any]
    output: str
    errors: str
    seconds: float
    steps: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.rc == 0 and not self.data.get("failed", False)

    @property
    def killed(self) -> bool:
        return self.rc == -signal.SIGKILL

    @property
    def msg(self) -> str:
        return str(self.data.get("msg", ""))

    def __str__(self) -> str:
        return f"rc {self.rc}: {self.output[-3000:]}{self.errors[-3000:]}"


class Task:
    """A running module. ``kill_at``: it kills itself just before this step (counted from 0). ``stop_at``: it stops there
    until ``go_on``."""

    def __init__(
        self,
        module: str,
        args: dict[str, t.Any],
        *,
        check: bool = False,
        kill_at: int | None = None,
        stop_at: int | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  # both are closed by wait()
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        self._pipe, theirs = os.pipe()
        self._steps = b""
        main = importlib.import_module(f"{_MODULES}.{module}").main
        args = {**args, "_ansible_check_mode": check, "_ansible_diff": True}
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            signals = {
                at: number for at, number in ((kill_at, signal.SIGKILL), (stop_at, signal.SIGSTOP)) if at is not None
            }
            _child(main, args, theirs, (self._out.fileno(), self._err.fileno()), signals, env or {})
        os.close(theirs)

    def step(self, name: str, timeout: float = 60) -> bool:
        """Waits until the task is about to do a step whose description contains ``name``; False when it never was."""
        deadline = time.monotonic() + timeout
        while name.encode() not in self._steps:
            if not self._read(deadline - time.monotonic()):
                return False
        return True

    def steps(self, number: int, timeout: float = 60) -> None:
        """Waits until the task has begun so many steps, or has ended."""
        deadline = time.monotonic() + timeout
        while self._steps.count(b"\n") < number and self._read(deadline - time.monotonic()):
            pass

    def _read(self, timeout: float) -> bool:
        if not select.select([self._pipe], [], [], max(timeout, 0))[0]:
            return False
        data = os.read(self._pipe, 65536)
        self._steps += data
        return bool(data)

    def kill(self) -> None:
        """SIGKILL, to the module's process alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def stopped(self, timeout: float = 60) -> bool:
        """Waits until it has stopped (``stop_at``); False when it ended before."""
        deadline = time.monotonic() + timeout
        while True:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
                state = file.read().rpartition(")")[2].split()[0]
            if state in ("T", "Z"):
                return state == "T"
            assert time.monotonic() < deadline, f"the task did not stop within {timeout} s"
            self._read(0.002)

    def go_on(self) -> None:
        """Lets it work again."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, timeout: float = 120, watch: t.Callable[[], None] | None = None) -> Result:
        """Waits for its end; ``watch`` is called all the time until then."""
        deadline = self.started + timeout
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                self.kill()
                os.waitpid(self.pid, 0)
                raise AssertionError(f"the task did not end within {timeout} s")
            if watch is not None:
                watch()
            # Also keeps the pipe from filling up; end of file comes with the last of its children only.
            if not self._read(0.002):
                time.sleep(0.001)
        seconds = time.monotonic() - self.started
        while self._read(0):
            pass
        os.close(self._pipe)
        output, errors = _text(self._out), _text(self._err)
        steps = tuple(self._steps.decode(errors="replace").splitlines())
        return Result(os.waitstatus_to_exitcode(status), _json(output), output, errors, seconds, steps)


def task(module: str, args: dict[str, t.Any], *, timeout: float = 120, **how: t.Any) -> Result:
    """A task from its start to its end."""
    return Task(module, args, **how).wait(timeout)


def _child(
    main: t.Callable[[], None],
    args: dict[str, t.Any],
    pipe: int,
    outputs: tuple[int, int],
    signals: dict[int, signal.Signals],
    env: dict[str, str],
) -> t.NoReturn:
    code = 1
    try:
        os.environ.update(env)
        null = os.open("/dev/null", os.O_RDONLY)
        for fd, place in ((null, 0), (outputs[0], 1), (outputs[1], 2)):
            os.dup2(fd, place)
        # Whatever else the test has open is nothing to a task.
        keep = max(pipe, 3)
        os.dup2(pipe, 3)
        os.set_inheritable(3, False)
        os.closerange(4, keep + 64)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.addaudithook(_counter(signals))
        with patch_module_args(args):
            main()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001  # that is what is being tested for
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _counter(signals: dict[int, signal.Signals]) -> t.Callable[[str, tuple[t.Any, ...]], None]:
    """Notes each step, and sends the process its signal before those that are named."""
    owner, number, busy = os.getpid(), 0, False

    def hook(event: str, words: tuple[t.Any, ...]) -> None:
        nonlocal number, busy
        # A child between fork and exec is not the task, and what the hook itself does is no step.
        if busy or not _is_step(event, words) or os.getpid() != owner:
            return
        busy = True
        try:
            if number in signals:
                os.kill(owner, signals[number])
            number += 1
            # The end of the pipe may be gone when only a thread is left.
            with contextlib.suppress(OSError):
                os.write(3, _line(event, words))
        finally:
            busy = False

    return hook


def _is_step(event: str, words: tuple[t.Any, ...]) -> bool:
    if event == "open":
        return isinstance(words[2], int) and bool(words[2] & _WRITING) and words[0] != "/dev/null"
    return event in _STEPS


def _line(event: str, words: tuple[t.Any, ...]) -> bytes:
    shown = words[1] if event == "subprocess.Popen" else words[:2]
    return f"{event} {shown}"[:400].encode("utf-8", "replace").replace(b"\n", b" ") + b"\n"


def _text(file: t.IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def _json(text: str) -> dict[str, t.Any]:
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {}
