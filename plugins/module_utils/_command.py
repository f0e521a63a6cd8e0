# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Programs: the only place that starts one. Argument lists only, no shell, C locale, time-out, bounded output."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import dataclasses
import fcntl
import math
import os
import queue
import resource
import select
import shutil
import signal
import subprocess  # the only importer of it
import threading
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import ToolError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._landlock import Rules

# Seconds after which a program in the background is asked once more to end.
_ASK_AGAIN = 5.0
_TAIL = 40
_PR_SET_PDEATHSIG = 1
_F_SETPIPE_SZ = 1031
#: As much as anybody may have.
_PIPE = 1 << 20

#: Called with each line that a program prints, while it prints.
LineSink = t.Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A program that has ended: ``rc``, its output as text (bytes that are no UTF-8 replaced), wall ``seconds``."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def stderr_tail(self) -> str:
        """The last lines of the error output."""
        return "\n".join(self.stderr.splitlines()[-_TAIL:])


@dataclasses.dataclass(frozen=True)
class Limits:
    """Resource limits of a child (None = as inherited): address space and file size in bytes, CPU in seconds."""

    address_space: int | None = None
    file_size: int | None = None
    cpu_seconds: int | None = None


@dataclasses.dataclass(frozen=True)
class Confine:
    """The files and folders that a child may read, and those that it may change, beside the system's own programs,
    libraries and settings. Where the kernel has no Landlock, it does not hold."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def _search_path() -> str:
    """PATH with the folders of root's programs, which are not in everybody's; programs start others themselves."""
    folders = [folder for folder in os.environ.get("PATH", "").split(":") if folder]
    usual = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return ":".join([*folders, *(folder for folder in usual if folder not in folders)])


def find(program: str, package: str) -> str:
    """The path of a program, also from the sbin folders; raises ToolMissing naming the package that has it."""
    path = shutil.which(program, path=_search_path())
    if path is None:
        raise ToolMissing(
            f"The program {program} is missing on this hypervisor: install the package {package}"
            " (the role hypervisor.kvm.kvm_host does).",
            missing_program=program,
            missing_package=package,
        )
    return path


def _child_setup(limits: Limits | None, rules: Rules | None) -> t.Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def setup() -> None:
        # A program must not outlive the module: a killed task would leave it writing.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # The module was killed before that took effect.
            os._exit(1)
        if rules is not None:
            rules.enforce()
        for kind, value in (
            ()
            if limits is None
            else (
                (resource.RLIMIT_AS, limits.address_space),
                (resource.RLIMIT_FSIZE, limits.file_size),
                (resource.RLIMIT_CPU, limits.cpu_seconds),
            )
        ):
            if value is not None:
                resource.setrlimit(kind, (value, value))

    return setup


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Reader(threading.Thread):
    """Drains one pipe; with a sink keeps only a tail, without one keeps all."""

    def __init__(self, pipe: t.IO[bytes], sink: LineSink | None) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._sink = sink
        self._lines: collections.deque[str] = collections.deque(maxlen=200 if sink else None)
        self.start()

    def run(self) -> None:
        with self._pipe:
            for raw in self._pipe:
                line = raw.decode("utf-8", "replace")
                self._lines.append(line)
                if self._sink is not None:
                    self._sink(line.rstrip("\n"))

    def text(self) -> str:
        self.join(timeout=5)
        return "".join(self._lines)


def run(
    argv: t.Sequence[str],
    *,
    timeout: float,
    stdin: str | bytes | None = None,
    ok: t.Collection[int] = (0,),
    env: t.Mapping[str, str] | None = None,
    cwd: str | None = None,
    limits: Limits | None = None,
    pass_fds: t.Sequence[int] = (),
    on_line: LineSink | None = None,
    what: str | None = None,
    confine: Confine | None = None,
) -> Finished:
    """Runs a program to its end.

    ``timeout`` is in seconds, then its whole process group is killed. ``stdin`` is text or bytes (none: /dev/null).
    ``ok`` are the exit codes that are no error (empty: all). ``on_line`` gets the lines of both outputs as they come;
    then only their tails are kept. ``confine`` says which files it may open at all. ``what`` is put into the error
    ("Cannot build /x/base.img"). Raises ToolError on another exit code or on time-out, ToolMissing when the program does
    not exist.
    """
    command = [str(word) for word in argv]
    started = time.monotonic()
    rules = Rules(confine.reads, confine.writes) if confine is not None else None
    try:
        pipe = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        process = _popen(command, pipe, env, cwd, _child_setup(limits, rules), pass_fds)
    finally:
        if rules is not None:
            rules.close()
    out, err = _readers(process, on_line)
    timed_out = _feed_and_wait(process, stdin.encode() if isinstance(stdin, str) else stdin, timeout)
    done = Finished(tuple(command), process.returncode, out.text(), err.text(), time.monotonic() - started)
    if timed_out or (ok and done.rc not in ok):
        raise _failure(done, what, timeout if timed_out else None)
    return done


class Asked:
    """A program that was asked something; ``answer``, which waits for it, or ``drop`` has to be called."""

    def __init__(self, argv: t.Sequence[str], stdin: str | None = None, pass_fds: t.Sequence[int] = ()) -> None:
        self._command = [str(word) for word in argv]
        self._stdin = stdin.encode() if stdin is not None else None
        self._started = time.monotonic()
        self._said: tuple[str, str, float] | None = None
        self._timed_out = False
        self._process = _popen(
            self._command, subprocess.DEVNULL if stdin is None else subprocess.PIPE, None, None, None, pass_fds
        )
        #: Its process id.
        self.pid = self._process.pid
        # A long answer is not handed over in small pieces, and one that is taken later keeps nobody waiting.
        with contextlib.suppress(OSError):
            fcntl.fcntl(t.cast("t.IO[bytes]", self._process.stdout).fileno(), _F_SETPIPE_SZ, _PIPE)

    def answer(self, *, timeout: float, ok: t.Collection[int] = (0,), what: str | None = None) -> Finished:
        """Its end, as of ask(); the same each time."""
        if self._said is None:
            try:
                out, err = self._process.communicate(self._stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                self._timed_out = True
                _kill(self._process)
                out, err = self._process.communicate()
            seconds = time.monotonic() - self._started
            self._said = out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), seconds
        done = Finished(tuple(self._command), self._process.returncode, *self._said)
        if self._timed_out or (ok and done.rc not in ok):
            raise _failure(done, what, timeout if self._timed_out else None)
        return done

    def drop(self) -> None:
        """Ends it, unless it has answered: nobody needs to know any more."""
        if self._said is None:
            _kill(self._process)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def ask(
    argv: t.Sequence[str],
    *,
    timeout: float,
    stdin: str | None = None,
    ok: t.Collection[int] = (0,),
    pass_fds: t.Sequence[int] = (),
    what: str | None = None,
) -> Finished:
    """As run(), for a program that is done within milliseconds, in half the time.

    It may outlive a module that is killed (so it only reads, or holds the lock that it works under: ``pass_fds``), and leaves
    nobody behind who has its pipes. Several that have nothing to do with each other are Asked first, and answer then.
    """
    return Asked(argv, stdin, pass_fds).answer(timeout=timeout, ok=ok, what=what)


def _popen(
    command: t.Sequence[str],
    stdin: int,
    env: t.Mapping[str, str] | None,
    cwd: str | None,
    setup: t.Callable[[], None] | None,
    pass_fds: t.Sequence[int],
) -> subprocess.Popen[bytes]:
    try:
        # run_command() has no time-out that ends the children too, no limits and no output while the program runs.
        return _Process(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": _search_path(), "LC_ALL": "C", "LANGUAGE": "C", **(env or {})},
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            preexec_fn=setup,
        )
    except FileNotFoundError as exc:
        raise ToolMissing(
            f"The program {command[0]} is missing on this hypervisor.", missing_program=command[0]
        ) from exc


class Background:
    """A program that works beside the module, and ends with it in any case. ``pid`` is its process id."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._out, self._err = _readers(process, None)
        self.pid = process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def said(self) -> str:
        """What it printed to its error output; ends it if it still runs."""
        self.stop(0)
        return self._err.text().strip()

    def stop(self, timeout: float) -> bool:
        """Asks it to end, and ends it after ``timeout`` seconds; whether it ended by itself with exit code 0."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            # Again and again: one that comes while a daemon is still becoming one can be lost.
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(min(_ASK_AGAIN, max(0.0, deadline - time.monotonic())))
        asked = not self.alive
        if not asked:
            _kill(self._process)
        return asked and self._process.returncode == 0


class Conversation:
    """A program that answers each line on its input with a line on its output, and ends with the module in any case."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        out, err = t.cast("t.IO[bytes]", process.stdout), t.cast("t.IO[bytes]", process.stderr)
        threading.Thread(target=self._listen, args=(out,), daemon=True).start()
        # Only its tail: what a library prints for each line would be many.
        self._err = _Reader(err, lambda _line: None)

    def _listen(self, pipe: t.IO[bytes]) -> None:
        with pipe:
            for raw in pipe:
                self._lines.put(raw.decode("utf-8", "replace"))
        self._lines.put(None)

    def tell(self, lines: t.Sequence[str]) -> None:
        """Gives it lines (none of which has a line break), while its answers can be heard."""
        text = "".join(line + "\n" for line in lines).encode()
        threading.Thread(target=self._tell, args=(text,), daemon=True).start()

    def _tell(self, text: bytes) -> None:
        pipe = t.cast("t.IO[bytes]", self._process.stdin)
        # A program that has ended gives no answer, which says it; the pipe may be closed by then.
        with contextlib.suppress(OSError, ValueError):
            pipe.write(text)
            pipe.flush()

    def hear(self, timeout: float) -> str:
        """The next line that it prints.

        Raises ToolError when it ends instead, or when ``timeout`` seconds have passed, after which it is ended.
        """
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise self._broken(timeout) from None
        if line is None:
            raise self._broken(None)
        return line.rstrip("\n")

    def _broken(self, timeout: float | None) -> ToolError:
        # One that has closed its output is about to end by itself.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if timeout else 1)
        _kill(self._process)
        self._close()
        process = self._process
        return _failure(
            Finished(tuple(t.cast("list[str]", process.args)), process.returncode, "", self._err.text(), 0),
            None,
            timeout,
        )

    def _close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            t.cast("t.IO[bytes]", self._process.stdin).close()

    def end(self) -> None:
        """Closes its input, upon which it should end, and ends it when it does not."""
        self._close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ASK_AGAIN)
        if self._process.poll() is None:
            _kill(self._process)


def converse(argv: t.Sequence[str], *, env: t.Mapping[str, str] | None = None) -> Conversation:
    """Starts a program that answers lines; raises ToolMissing when it does not exist."""
    return Conversation(_popen([str(word) for word in argv], subprocess.PIPE, env, None, _child_setup(None, None), ()))


def start(
    argv: t.Sequence[str], *, env: t.Mapping[str, str] | None = None, pass_fds: t.Sequence[int] = ()
) -> Background:
    """Starts a program that is to work beside the module; raises ToolMissing when it does not exist."""
    return Background(
        _popen([str(word) for word in argv], subprocess.DEVNULL, env, None, _child_setup(None, None), pass_fds)
    )


def _readers(process: subprocess.Popen[bytes], on_line: LineSink | None) -> tuple[_Reader, _Reader]:
    # Both pipes exist: they were asked for.
    return _Reader(t.cast("t.IO[bytes]", process.stdout), on_line), _Reader(
        t.cast("t.IO[bytes]", process.stderr), on_line
    )


def _feed_and_wait(process: subprocess.Popen[bytes], stdin: bytes | None, timeout: float) -> bool:
    """Writes the input and waits; True when the time ran out."""
    feeder: threading.Thread | None = None
    if stdin is not None:
        feeder = threading.Thread(target=_feed, args=(process, stdin), daemon=True)
        feeder.start()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        return True
    except BaseException:
        _kill(process)
        raise
    return False


def _told_of_end(pid: int, timeout: float) -> bool:
    """Waits for the end by the kernel's word, False where it has none (before Linux 5.3): the wait of Python looks every
    50 ms, which for many a program here is longer than its work."""
    try:
        end = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return False
    try:
        ended = select.poll()
        ended.register(end, select.POLLIN)
        ended.poll(math.ceil(timeout * 1000))
    finally:
        os.close(end)
    return True


class _Process(subprocess.Popen[bytes]):
    """A program whose end is heard of at once, also by communicate()."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; raises TimeoutExpired."""
        asked = timeout is not None and timeout > 0 and self.returncode is None
        return super().wait(0 if asked and _told_of_end(self.pid, timeout or 0) else timeout)


def _feed(process: subprocess.Popen[bytes], stdin: bytes) -> None:
    pipe = t.cast("t.IO[bytes]", process.stdin)
    # A program that ends without reading its input is judged by its exit code.
    with contextlib.suppress(BrokenPipeError):
        pipe.write(stdin)
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def _failure(done: Finished, what: str | None, timeout: float | None) -> ToolError:
    name = os.path.basename(done.argv[0])
    if timeout is not None:
        reason = f"{name} did not end within {timeout:g} s"
    elif done.rc < 0:
        reason = f"{name} was ended by signal {-done.rc}"
    else:
        reason = f"{name} failed with exit code {done.rc}"
    tail = done.stderr_tail or "\n".join(done.stdout.splitlines()[-_TAIL:])
    last = tail.strip().splitlines()[-1].strip() if tail.strip() else "it printed nothing"
    return ToolError(f"{what + ': ' if what else ''}{reason}: {last}", cmd=list(done.argv), rc=done.rc, stderr=tail)
