# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain host: one command in namespaces of its own over the machine's own root, with a real libvirtd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab_cache import die_with_parent
from lab_errors import LabError

HERE = Path(__file__).resolve().parent


@dataclass
class PlainOptions:
    """What a plain host is to have. Paths are the machine's."""

    name: str = "plain"
    libvirtd: bool = True
    outside: bool = False
    uplink: bool = False
    bind_rw: Sequence[str] = field(default_factory=list)
    devices: Sequence[str] = field(default_factory=list)


def working_tree(cwd: Path) -> Path | None:
    """Return the folder that stays writable: the git work tree around ``cwd``, or ``cwd`` itself; never ``/``."""
    for folder in (cwd, *cwd.parents):
        if (folder / ".git").exists() and folder != Path("/"):
            return folder
    system = {Path(p) for p in ("/", "/root", "/tmp", "/run", "/var", "/usr", "/etc", "/home", "/opt", "/srv", "/mnt")}
    return None if cwd in system else cwd


def _environment(options: PlainOptions, cwd: Path) -> dict[str, str]:
    env = dict(os.environ)
    tree = working_tree(cwd)
    env.update(
        LAB_NAME=options.name,
        LAB_TREE=str(tree) if tree else "",
        LAB_BIND_RW="\n".join(str(Path(p).resolve()) for p in options.bind_rw),
        LAB_DEV="\n".join(options.devices),
        LAB_LIBVIRTD="1" if options.libvirtd else "0",
        LAB_OUTSIDE="1" if options.outside else "0",
        LAB_DIR=str(HERE),
        LAB_PYTHON=sys.executable,
        LAB_CWD=str(cwd),
        LAB_PLAIN_HOST=options.name,
    )
    return env


def run_plain(command: Sequence[str], options: PlainOptions) -> int:
    """Run ``command`` in a new plain host and return its exit code (128 + n when signal n ended it; 125: no host).

    The command sees this process's working directory, stdin, stdout and stderr. Everything that it starts is gone
    when this function returns, and also when this process is killed.
    """
    cwd = Path.cwd()
    env = _environment(options, cwd)
    fds: list[int] = []
    if options.uplink:
        fds = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
        if max(fds) > 9:  # sh can close no others
            raise LabError("too many open files for --uplink: start lab.py from a process that has closed its own")
    env["LAB_UPLINK"] = " ".join(str(fd) for fd in fds)
    argv: list[str] = ["unshare", "-m", "-n", "-u", "-i", "-p", "-f", "--kill-child", "--propagation", "private"]
    argv += ["--", "/bin/sh", str(HERE / "plain_host.sh"), *command]
    process = subprocess.Popen(argv, env=env, pass_fds=fds, preexec_fn=die_with_parent())
    for fd in fds:
        os.close(fd)
    # Ctrl-C reaches the command by itself (same process group); this process only waits for the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = process.wait()
    return code if code >= 0 else 128 - code
