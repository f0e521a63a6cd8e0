# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates, one session each. ``./run test`` calls them; ``.venv/nox/bin/nox --list`` lists them.

Each session works on a copy of the checkout below ``build/``, because ansible-test and ansible-lint want a collection
at ``ansible_collections/hypervisor/kvm``; so the checkout stays clean. Each has its environment from
``requirements/make_venv.py``. Nothing but the package clients goes to the network.
"""

from __future__ import annotations

import atexit
import collections
import concurrent.futures
import contextlib
import functools
import glob
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import nox
import nox.command

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "requirements"))
from make_venv import make_venv  # noqa: E402  # its folder is known only now

BUILD = ROOT / "build"
SYSTEM_PYTHON = "/usr/bin/python3"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OLDEST_TARGET = (3, 9)
#: How the fault tests end where they cannot work.
_NOT_POSSIBLE = 77
#: How many integration targets run beside each other, and those that take longest.
_AT_ONCE = 2
_LONG = ("kvm_nat", "kvm_domain", "kvm_nat_info", "kvm_snapshot")
_printing = threading.Lock()

nox.options.default_venv_backend = "none"
nox.options.error_on_external_run = False

Version = tuple[int, int]


# --- interpreters and environments -----------------------------------------------------------------------------------


def _word(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


@functools.cache
def interpreter(version: Version) -> str | None:
    """A usable Python of that version: the distribution's, one on the PATH, or one of pyenv; None when there is none."""
    name = f"python{_word(version)}"
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    # glob and os.path pass over what this user may not read.
    folders = [
        "/usr/bin",
        "/usr/local/bin",
        *sorted(glob.glob(f"{pyenv}/versions/{_word(version)}.*/bin"), reverse=True),
    ]
    folders += [folder for folder in os.environ.get("PATH", "").split(":") if folder and "shims" not in folder]
    probe = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in (os.path.join(folder, name) for folder in folders):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            done = subprocess.run([path, "-c", probe], capture_output=True, text=True, timeout=20, check=False)
            if done.stdout.strip() == _word(version):
                return path
    return None


def first_interpreter(session: nox.Session, versions: list[Version], why: str) -> tuple[Version, str]:
    """The first of the versions that this machine has; the session fails when it has none."""
    found = [(version, path) for version in versions if (path := interpreter(version)) is not None]
    if not found:
        words = ", ".join(_word(version) for version in versions)
        session.error(
            f"{why} needs Python {words} with venv and ensurepip; this machine has none: install one, by pyenv for instance."
        )
    return found[0]


def tools() -> Path:
    """The environment of the linters and of the documentation tools."""
    return make_venv("tools", python=_controller_python())


def _controller_python() -> str:
    found = [path for minor in (11, 13, 12, 14) if (path := interpreter((3, minor))) is not None]
    if not found:
        raise RuntimeError(
            "The tests need Python 3.11 or newer; this machine has none: install one, by pyenv for instance."
        )
    return found[0]


def private_home() -> Path:
    """A home of our own: ansible-test and ansible-lint keep caches there. pip's settings of the user are respected."""
    home = ROOT / ".venv" / "home"
    (home / ".config").mkdir(parents=True, exist_ok=True)
    for name in (".pip", ".config/pip"):
        theirs, ours = Path.home() / name, home / name
        if theirs.is_dir() and not ours.is_symlink():
            ours.symlink_to(theirs)
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    # ansible-test would fetch this program from its own site; the interpreter has all that is needed.
    for name in ("get_pip_24_2.py", "get_pip_25_2.py"):
        shutil.copyfile(ROOT / "requirements" / "get_pip.py", cache / name)
    return home


def environment(venv: Path, tree: Path, **more: str) -> dict[str, str]:
    """What a program of a session sees: no Ansible or Python settings of the caller."""
    dropped = ("ANSIBLE_", "PYTHON", "PYENV", "VIRTUAL_ENV", "PYTEST_", "MYPY")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    env.update(
        PATH=f"{venv / 'bin'}:{SYSTEM_PATH}",
        HOME=str(private_home()),
        LC_ALL="C.UTF-8",
        ANSIBLE_COLLECTIONS_PATH=str(tree.parents[2]),
        ANSIBLE_HOME=str(private_home() / ".ansible"),
        ANSIBLE_NOCOWS="1",
    )
    return {**env, **more}


def run(session: nox.Session, tree: Path, env: dict[str, str], *command: str) -> None:
    """Runs a program in the copy, with nothing of the caller's environment but ``env``."""
    program = shutil.which(command[0], path=env["PATH"])
    if program is None:
        session.error(f"the program {command[0]} is missing; ./run test installs what the tests need")
    with session.chdir(tree), _watched(f"{session.name}: {' '.join(command)}") as output:
        session.run(program, *command[1:], env=env, include_outer_env=False, external=True, stdout=output)


# --- what failed: the end of a long log is what is read first ---------------------------------------------------------

_Excerpt = tuple[list[str], "collections.deque[str]"]
_failures: list[tuple[str, _Excerpt]] = []
#: What Ansible, pytest and the linters call an error; Ansible takes it back with "...ignoring" on the next line.
_TELLING = re.compile(r"(\x1b\[[0-9;]*m)*(fatal: |ERROR|FAILED tests|E   )")
_WIDTH = 1500


@contextlib.contextmanager
def _watched(what: str) -> Iterator[int]:
    """A descriptor for the output of a program: it is shown at once, and its errors again at the very end if it fails."""
    reading, writing = os.pipe()
    excerpt: _Excerpt = ([], collections.deque(maxlen=15))
    thread = threading.Thread(target=_pass_on, args=(reading, excerpt), daemon=True)
    thread.start()
    try:
        yield writing
    except nox.command.CommandFailed:
        _failures.append((what, excerpt))
        raise
    finally:
        os.close(writing)
        # A daemon that the program has left may keep the other end open.
        thread.join(timeout=10)


def _pass_on(reading: int, excerpt: _Excerpt) -> None:
    with open(reading, encoding="utf-8", errors="replace") as lines:
        _note(_shown(lines), excerpt)


def _shown(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        yield line


def _note(lines: Iterable[str], excerpt: _Excerpt) -> None:
    """Keeps what of an output is worth being shown again."""
    errors, last = excerpt
    task = ""
    for line in lines:
        last.append(line[:_WIDTH])
        if "TASK [" in line:
            task = line
        elif line.startswith("...ignoring"):
            del errors[-1:]
        elif _TELLING.match(line):
            errors.append(f"{task}{line[:_WIDTH]}")


@atexit.register
def _show_failures() -> None:
    for what, (errors, last) in _failures:
        print(f"\n==> What failed: {what}")
        print(
            "".join(line if line.endswith("\n") else f"{line}\n" for line in [*errors[-5:], "[...]\n", *last]), end=""
        )


# --- the copy --------------------------------------------------------------------------------------------------------


def stage(session: nox.Session) -> Path:
    """Copies what git knows (and would take) to ``build/SESSION/ansible_collections/hypervisor/kvm``."""
    base = BUILD / session.name
    tree = base / "ansible_collections" / "hypervisor" / "kvm"
    if base.exists():
        shutil.rmtree(base)
    tree.mkdir(parents=True)
    # A checkout of another user (CI, sudo) is no danger here: git only lists it.
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        session.error(f"git cannot list the files of {ROOT}: {done.stderr.strip()} (the tests run from a git clone)")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).exists():  # not one that is deleted but still in the index
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    # ansible-test and ansible-lint ask git for the files; without this they would ask the checkout, which ignores build/.
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True, timeout=60)
    return tree


def files_of(tree: Path, *patterns: str) -> list[str]:
    """The files of the copy, as paths in it."""
    return sorted(
        {
            str(path.relative_to(tree))
            for pattern in patterns
            for path in tree.rglob(pattern)
            if ".git" not in path.parts
        }
    )


def run_as_root(session: nox.Session, tree: Path, env: dict[str, str], *command: str) -> None:
    """The same as root, for a user who may use sudo; what root leaves in the copy belongs to the user again."""
    if os.geteuid() == 0:
        run(session, tree, env, *command)
        return
    try:
        # sudo sets a PATH of its own.
        run(session, tree, env, "sudo", "--preserve-env", "env", f"PATH={env['PATH']}", *command)
    finally:
        _give_back(tree)


def _give_back(tree: Path) -> None:
    owner = f"{os.geteuid()}:{os.getegid()}"
    folders = [str(tree.parents[2]), str(ROOT / ".venv" / "home")]
    subprocess.run(["sudo", "chown", "-R", "-h", owner, *folders], check=True, timeout=60)


# --- unit ------------------------------------------------------------------------------------------------------------


@nox.session
def unit(session: nox.Session) -> None:
    """Unit tests by plain pytest, on Python 3.11 (or what the controller has) and on the oldest target, 3.9."""
    tree = stage(session)
    version, python = first_interpreter(session, [(3, 11), (3, 13), (3, 12)], "The unit tests")
    venv = make_venv(f"unit-{_word(version)}", "unit", python)
    session.log(f"pytest on Python {_word(version)}")
    _pytest(session, tree, venv, str(tree.parents[2]))
    oldest = interpreter(OLDEST_TARGET)
    if oldest is None:
        not_tested(session, OLDEST_TARGET)
        return
    session.log(f"pytest on Python {_word(OLDEST_TARGET)}, with the module_utils of ansible-core as a target gets them")
    target = make_venv(f"unit-{_word(OLDEST_TARGET)}", "unit", oldest)
    # ansible-core does not install there, but its module_utils must run there.
    shared = BUILD / session.name / "target"
    shared.mkdir()
    (shared / "ansible").symlink_to(next(venv.glob("lib/python3.*/site-packages/ansible")))
    _pytest(session, tree, target, f"{tree.parents[2]}:{shared}")


def _pytest(session: nox.Session, tree: Path, venv: Path, path: str) -> None:
    env = environment(venv, tree, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
    run(session, tree, env, "python", "-m", "pytest", "-n", "2", "-q", *(session.posargs or ["tests/unit"]))


# --- lint, types, docs, build ----------------------------------------------------------------------------------------


@nox.session
def lint(session: nox.Session) -> None:
    """ruff (rules and format), yamllint, shellcheck."""
    tree = stage(session)
    env = environment(tools(), tree)
    run(session, tree, env, "ruff", "check", "--no-cache", ".")
    run(session, tree, env, "ruff", "format", "--check", "--no-cache", ".")
    run(session, tree, env, "yamllint", "--strict", ".")
    scripts = [*files_of(tree, "*.sh"), "run", ".ci/run"]
    run(session, tree, env, "shellcheck", *scripts)
    session.log(f"ruff, yamllint and shellcheck ({len(scripts)} scripts) found nothing")


@nox.session(name="ansible-lint")
def ansible_lint(session: nox.Session) -> None:
    """ansible-lint with the production profile."""
    tree = stage(session)
    run(session, tree, environment(tools(), tree), "ansible-lint", "--offline", "--profile", "production", "--strict")


@nox.session
def types(session: nox.Session) -> None:
    """mypy: the collection strictly, the tests' own programs too."""
    tree = stage(session)
    env = environment(tools(), tree, MYPYPATH=str(tree.parents[2]))
    cache = ["--cache-dir", str(ROOT / ".venv" / "mypy_cache"), "--config-file", "mypy.ini"]
    run(session, tree, env, "mypy", *cache, "-p", "ansible_collections.hypervisor.kvm.plugins")
    programs = ["noxfile.py", "requirements/make_venv.py"]
    run(session, tree, {**env, "MYPYPATH": "requirements"}, "mypy", *cache, *programs)
    for folder in ("tests/lab", "tests/faults", "tests/bench"):
        found = [f"{folder}/{name}" for name in files_of(tree / folder, "*.py")]
        # The programs of a folder import each other by their plain names, as when they are started.
        run(session, tree, {**env, "MYPYPATH": f"{folder}:{tree.parents[2]}"}, "mypy", *cache, *found)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation of modules and roles, and the changelog."""
    tree = stage(session)
    env = environment(tools(), tree)
    run(
        session,
        tree,
        env,
        "antsibull-docs",
        "lint-collection-docs",
        "--plugin-docs",
        "--validate-collection-refs=all",
        ".",
    )
    run(session, tree, env, "antsibull-changelog", "lint")
    session.log("antsibull-docs and antsibull-changelog found nothing")


@nox.session
def build(session: nox.Session) -> None:
    """The collection as Galaxy would get it, and what Galaxy says to it."""
    tree = stage(session)
    importer = make_venv("importer", python=_controller_python())
    env = environment(importer, tree, GALAXY_IMPORTER_CHECK_REQUIRED_TAGS="true")
    dist = BUILD / session.name / "dist"
    run(session, tree, env, "ansible-galaxy", "collection", "build", "--output-path", str(dist))
    archive = next(dist.glob("*.tar.gz"))
    with session.chdir(dist):
        output = session.run(
            str(importer / "bin" / "python"),
            "-m",
            "galaxy_importer.main",
            str(archive),
            env=env,
            include_outer_env=False,
            external=True,
            silent=True,
        )
    text = str(output)
    session.log(text)
    # The importer reports errors and still exits with 0.
    if "ERROR" in text or "Importer processing completed successfully" not in text:
        session.error("galaxy-importer reports an error (above)")


# --- sanity ----------------------------------------------------------------------------------------------------------


def _sanity(session: nox.Session, version: Version, python: str, *more: Version) -> None:
    """All tests on one Python; then those of compiling and importing on ``more`` Pythons of targets."""
    tree = stage(session)
    env = environment(make_venv(session.name, python=python), tree)
    others = {other: interpreter(other) for other in more}
    folders = [os.path.dirname(path) for path in others.values() if path is not None]
    # Last, because the oldest of them is there to be found by its full name only.
    env["PATH"] = ":".join([env["PATH"], *folders])
    test = ["ansible-test", "sanity", "--color", "no", "--python"]
    run(session, tree, env, *test, _word(version), *session.posargs)
    for other, path in others.items():
        if path is None:
            not_tested(session, other)
        elif not session.posargs:
            run(session, tree, env, *test, _word(other), "--test", "compile", "--test", "import")


def not_tested(session: nox.Session, version: Version) -> None:
    """Says loudly that this machine cannot test a Python of targets."""
    line = "!" * 100
    session.warn(
        f"\n{line}\nNOT TESTED on Python {_word(version)}: this machine has none that makes environments.\n{line}"
    )


@nox.session(name="sanity-2.19")
def sanity_old(session: nox.Session) -> None:
    """ansible-test sanity of ansible-core 2.19 on Python 3.11 (3.13 or 3.12 where the machine has no 3.11)."""
    version, python = first_interpreter(session, [(3, 11), (3, 13), (3, 12)], "ansible-core 2.19")
    _sanity(session, version, python, OLDEST_TARGET)


@nox.session(name="sanity-newest")
def sanity_newest(session: nox.Session) -> None:
    """ansible-test sanity of the newest ansible-core on the newest Python that it runs on."""
    version, python = first_interpreter(session, [(3, 14), (3, 13), (3, 12)], "The newest ansible-core")
    _sanity(session, version, python)


# --- what needs a hypervisor -----------------------------------------------------------------------------------------


def lab_environment(venv: Path, tree: Path) -> dict[str, str]:
    """The trees of the lab's hosts are shared by all clones of the user."""
    cache = os.environ.get("LAB_CACHE") or os.path.expanduser("~/.cache/hypervisor.kvm/lab")
    return environment(venv, tree, LAB_CACHE=cache)


@nox.session
def lab(session: nox.Session) -> None:
    """The lab's own tests."""
    tree = stage(session)
    env = lab_environment(tools(), tree)
    run_as_root(session, tree, env, "python", "-m", "pytest", "-q", *(session.posargs or ["tests/lab"]))


@nox.session
def integration(session: nox.Session) -> None:
    """The integration targets of all modules, two at a time, each on a plain host of the lab with a libvirtd and a firewall of
    its own."""
    tree = stage(session)
    # python3-libvirt and python3-lxml are packages of the distribution, as on a hypervisor.
    venv = make_venv("integration", python=SYSTEM_PYTHON, site=True)
    env = lab_environment(venv, tree)
    # Here, and not in the target: its host has no way to the archive, and ansible-test hides where the cache is.
    run_as_root(session, tree, env, "sh", "tests/lab/tiny_guest.sh", str(tree.parents[2] / "tiny_guest"))
    targets = session.posargs or sorted(path.name for path in (tree / "tests" / "integration" / "targets").iterdir())
    # The longest first: the others find their place beside them.
    targets = sorted(targets, key=lambda name: name not in _LONG)
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for number in range(_AT_ONCE):
        base = tree.parents[2] if number == 0 else tree.parents[2].with_name(f"{session.name}-{number}")
        if number:
            shutil.rmtree(base, ignore_errors=True)
            shutil.copytree(tree.parents[2], base, symlinks=True)
        trees.put(base / tree.relative_to(tree.parents[2]))
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        passed = list(pool.map(lambda target: _one_target(session, trees, venv, target), targets))
    failed = [target for target, well in zip(targets, passed) if not well]
    if failed:
        session.error(f"of {len(targets)} targets failed: {' '.join(failed)}")


def _one_target(session: nox.Session, trees: queue.SimpleQueue[Path], venv: Path, target: str) -> bool:
    """Runs a target in a tree that nobody else uses; its output comes in one piece, when it has ended."""
    tree = trees.get()
    try:
        # A host each: libvirt leaves forwarding on and chains behind, firewall tests throw them away.
        test = [SYSTEM_PYTHON, "tests/lab/lab.py", "plain", "--outside", "--", "ansible-test", "integration"]
        test += ["--color", "no", "--python", "default", "--allow-destructive", "--allow-root", target]
        session.log(f"target {target} begins")
        started = time.monotonic()
        code, lines = _output_as_root(tree, lab_environment(venv, tree), test)
        excerpt: _Excerpt = ([], collections.deque(maxlen=15))
        with _printing:
            for line in lines:
                sys.stdout.write(line)
            sys.stdout.flush()
            session.log(
                f"target {target}: {'passed' if code == 0 else 'FAILED'} after {time.monotonic() - started:.0f} s"
            )
        if code != 0:
            _note(lines, excerpt)
            _failures.append((f"{session.name}: {target}", excerpt))
        return code == 0
    finally:
        trees.put(tree)


def _output_as_root(tree: Path, env: dict[str, str], command: list[str]) -> tuple[int, list[str]]:
    """As ``run_as_root``, beside others: exit code and output."""
    as_user = os.geteuid() != 0
    before = ["sudo", "--preserve-env", "env", f"PATH={env['PATH']}"] if as_user else []
    try:
        done = subprocess.run(
            [*before, *command],
            cwd=tree,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    finally:
        if as_user:
            _give_back(tree)
    return done.returncode, done.stdout.splitlines(keepends=True)


@nox.session
def faults(session: nox.Session) -> None:
    """Tasks of kvm_image are killed, starved, and given hostile images, in mount and process namespaces of their own."""
    tree = stage(session)
    venv = make_venv("integration", python=SYSTEM_PYTHON, site=True)
    env = environment(venv, tree, PYTHONPATH=str(tree.parents[2]), PYTHONDONTWRITEBYTECODE="1")
    try:
        run_as_root(session, tree, env, "python", "tests/faults/run_all.py", *session.posargs)
    except nox.command.CommandFailed as exc:
        if not str(exc.reason).endswith(f" {_NOT_POSSIBLE}"):
            raise
        # "skipped" in nox' last lines, never "success".
        session.skip("NOT TESTED, or not all of it: this machine cannot do it; the lines above say what is missing")


@nox.session
def scenario(session: nox.Session) -> None:
    """site.yml over SSH on empty hosts with systemd, the newest Debian and the oldest that is supported, and back; NAT beside others."""
    tree = stage(session)
    env = lab_environment(make_venv("scenario", python=SYSTEM_PYTHON), tree)
    hosts = ["--host", "newest=trixie:bare", "--host", "oldest=bookworm:bare"]
    for name in ("site", "nat"):
        test = ["molecule", "test", "--scenario-name", name, *session.posargs]
        run_as_root(session, tree, env, SYSTEM_PYTHON, "tests/lab/lab.py", "up", *hosts, "--", *test)
