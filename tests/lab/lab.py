# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test lab: hypervisor hosts made of namespaces. ``lab.py --help`` lists the commands, README.md explains them.

From Python: ``from lab import Lab``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab_archive import SUITES, build_archive
from lab_doctor import problems
from lab_errors import LabError
from lab_plain import PlainOptions, run_plain
from lab_plan import HostPlan, parse_host, parse_plan
from lab_rack import BASE, Lab
from lab_tree import VARIANTS, build_tree, download_wheels

__all__ = ["HostPlan", "Lab", "LabError", "main"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: use a-z, 0-9 and '-', a letter first, at most 31")
    return text


def _command(words: Sequence[str]) -> list[str]:
    command = list(words[1:] if words[:1] == ["--"] else words)
    if not command:
        raise LabError("there is no command to run: give it after --")
    return command


def _plain(args: argparse.Namespace) -> int:
    options = PlainOptions(
        name=args.name,
        libvirtd=args.libvirtd,
        outside=args.outside,
        uplink=args.uplink,
        bind_rw=args.bind_rw,
        devices=args.dev,
    )
    return run_plain(_command(args.command), options)


def _tree(args: argparse.Namespace) -> int:
    print(build_tree(args.suite, args.variant))
    return 0


def _archive(args: argparse.Namespace) -> int:
    print(build_archive(args.suite, args.package))
    return 0


def _wheels(args: argparse.Namespace) -> int:
    print(download_wheels(args.requirements))
    return 0


def _up(args: argparse.Namespace) -> int:
    hosts = [*(parse_plan(args.plan) if args.plan else []), *args.host]
    command = _command(args.command) if args.command else []
    if command and args.keep:
        raise LabError("--keep and a command exclude each other: run the command with `lab.py run` afterwards")
    lab = Lab(hosts, args.lab, keep=args.keep)
    # A signal must end the lab, and not only this process: turned into an exception, it passes the `with` block.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if args.keep:
        lab.up()
        _say_hosts(lab)
        return 0
    with lab:
        _say_hosts(lab)
        if not command:
            signal.pause()
        env = {**os.environ, "LAB": lab.name, "LAB_INVENTORY": str(lab.inventory())}
        return subprocess.run(lab.command(command), env=env, check=False).returncode


def _say_hosts(lab: Lab) -> None:
    for host in lab.plan:
        print(f"lab: {host.name} is up at {lab.host(host.name).address} ({host.tree}, {host.variant})", file=sys.stderr)


def _exec(args: argparse.Namespace) -> int:
    lab = Lab.attach(args.lab)
    command = _command(args.command)
    argv = lab.world(command) if args.host == "world" else lab.host(args.host).command(command)
    os.execvp(argv[0], argv)


def _run(args: argparse.Namespace) -> int:
    lab = Lab.attach(args.lab)
    argv = lab.command(_command(args.command))
    os.execvpe(argv[0], argv, {**os.environ, "LAB": lab.name, "LAB_INVENTORY": str(lab.inventory())})


def _kill(args: argparse.Namespace) -> int:
    Lab.attach(args.lab).host(args.host).power_loss(silent=args.silent)
    return 0


def _start(args: argparse.Namespace) -> int:
    Lab.attach(args.lab).host(args.host).start()
    return 0


def _reboot(args: argparse.Namespace) -> int:
    Lab.attach(args.lab).host(args.host).reboot()
    return 0


def _inventory(args: argparse.Namespace) -> int:
    path = Lab.attach(args.lab).inventory(args.path, args.user)
    if args.path is None:
        print(path.read_text(encoding="utf-8"), end="")
    return 0


def _down(args: argparse.Namespace) -> int:
    try:
        Lab.attach(args.lab).down()
    except LabError:
        if not (BASE / args.lab).exists():
            raise
        shutil.rmtree(BASE / args.lab)  # the rest of a lab that is gone: `attach` has made sure of that
    return 0


def _doctor(_args: argparse.Namespace) -> int:
    found = problems()
    for problem in found:
        print(f"lab: {problem}")
    if not found:
        print("lab: this machine has all that the lab needs")
    return 1 if found else 0


def _add_plain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plain = commands.add_parser("plain", help="run one command in a private host over this machine's own root")
    plain.add_argument("--name", type=_name, default="plain", help="the host's name (default: plain)")
    plain.add_argument("--no-libvirtd", dest="libvirtd", action="store_false", help="do not start libvirt")
    plain.add_argument("--outside", action="store_true", help="add a default route into a network namespace 'world'")
    plain.add_argument("--uplink", action="store_true", help="let apt and pip reach the registries of this machine")
    plain.add_argument("--bind-rw", action="append", default=[], metavar="PATH", help="keep what is written to PATH")
    plain.add_argument("--dev", action="append", default=[], metavar="PATH", help="give the host one more device node")
    plain.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    plain.set_defaults(run=_plain)


def _add_building(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tree = commands.add_parser("tree", help="build (or find in the cache) the root tree of a host, print its folder")
    tree.add_argument("suite", choices=SUITES)
    tree.add_argument("--variant", choices=sorted(VARIANTS), default="host")
    tree.set_defaults(run=_tree)
    archive = commands.add_parser("archive", help="build the local package archive of a suite, print its folder")
    archive.add_argument("suite", choices=SUITES)
    archive.add_argument("package", nargs="*", help="packages beside the default ones")
    archive.set_defaults(run=_archive)
    wheels = commands.add_parser("wheels", help="download the wheels of a requirements file for the hosts' pip")
    wheels.add_argument("requirements", type=Path)
    wheels.set_defaults(run=_wheels)
    doctor = commands.add_parser("doctor", help="say what this machine lacks; exit code 1 when something")
    doctor.set_defaults(run=_doctor)


def _add_rack(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = commands.add_parser("up", help="start a lab; it ends with the command, or with this process")
    up.add_argument("--keep", action="store_true", help="return at once and leave the lab running until `lab.py down`")
    up.add_argument("--lab", type=_name, default="lab", help="the lab's name (default: lab)")
    up.add_argument("--host", type=parse_host, action="append", default=[], metavar="NAME=SUITE[:VARIANT[:plain]]")
    up.add_argument("--plan", type=Path, help="a JSON file with the hosts")
    up.add_argument("command", nargs=argparse.REMAINDER, metavar="[-- COMMAND]")
    up.set_defaults(run=_up)
    for what, handler, text in (
        ("exec", _exec, "run a command on a host as root ('world': in the outside world)"),
        ("run", _run, "run a command as the controller: this machine's files, the lab's network"),
        ("kill", _kill, "cut a host's power"),
        ("start", _start, "switch on a host that is off"),
        ("reboot", _reboot, "reboot a host and wait until it is up"),
        ("inventory", _inventory, "write an Ansible inventory (for `lab.py run`)"),
        ("down", _down, "end a lab"),
    ):
        one = commands.add_parser(what, help=text)
        one.add_argument(
            "--lab", type=_name, default=os.environ.get("LAB", "lab"), help="the lab's name (default: lab)"
        )
        one.set_defaults(run=handler)
        if what in ("exec", "kill", "start", "reboot"):
            one.add_argument("host")
        if what in ("exec", "run"):
            one.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
        if what == "kill":
            one.add_argument("--silent", action="store_true", help="take the links first: nobody gets a word")
        if what == "inventory":
            one.add_argument("path", nargs="?", help="the file to write (default: standard output)")
            one.add_argument("--user", default="root", help="root (default) or admin, who has sudo")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="lab.py", description="Hypervisor hosts made of namespaces, for tests.")
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    _add_plain(commands)
    _add_building(commands)
    _add_rack(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the lab and return its exit code."""
    try:
        args = build_parser().parse_args(argv)
        if os.geteuid() != 0 and args.what != "doctor":
            raise LabError("the lab makes namespaces and mounts: run it as root")
        return int(args.run(args))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
