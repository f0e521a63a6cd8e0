#!/usr/bin/env python3
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test lab: hypervisor hosts made of namespaces. ``lab.py --help`` lists the commands, README.md explains them."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import List, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab_plain import PlainOptions, run_plain

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")


class LabUsageError(Exception):
    """The command line asks for something that cannot be."""


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name: use a-z, 0-9 and '-', a letter first")
    return text


def _command(words: Sequence[str]) -> List[str]:
    command = list(words[1:] if words[:1] == ["--"] else words)
    if not command:
        raise LabUsageError("there is no command to run: give it after --")
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


def _add_plain(commands: argparse._SubParsersAction) -> None:
    plain = commands.add_parser("plain", help="run one command in a private host over this machine's own root")
    plain.add_argument("--name", type=_name, default="plain", help="the host's name (default: plain)")
    plain.add_argument("--no-libvirtd", dest="libvirtd", action="store_false", help="do not start libvirt")
    plain.add_argument("--outside", action="store_true", help="add a default route into a network namespace 'world'")
    plain.add_argument("--uplink", action="store_true", help="let apt and pip reach the registries of this machine")
    plain.add_argument("--bind-rw", action="append", default=[], metavar="PATH", help="keep what is written to PATH")
    plain.add_argument("--dev", action="append", default=[], metavar="PATH", help="give the host one more device node")
    plain.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    plain.set_defaults(run=_plain)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="lab.py", description="Hypervisor hosts made of namespaces, for tests.")
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    _add_plain(commands)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command of the lab and return its exit code."""
    args = build_parser().parse_args(argv)
    try:
        if os.geteuid() != 0:
            raise LabUsageError("the lab makes namespaces and mounts: run it as root")
        return int(args.run(args))
    except LabUsageError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
