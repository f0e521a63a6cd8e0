# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""killed.py STRIDE ENTRY: mounts and unmounts as ENTRY (JSON) says, and is killed at every STRIDE-th line that it passes.

After each kill both states are asked for, and at the end nothing may be left. With the collection on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _floor
from ansible_collections.hypervisor.kvm.plugins.module_utils._image_mount.record import work_folder
from ansible_collections.hypervisor.kvm.plugins.modules.kvm_image_mount import MountFloor

_STATE = "/run/hypervisor.kvm/mounts"
# What only reads cannot be killed too early or too late.
_READERS = tuple(
    f"/{name}.py" for name in ("capabilities", "compare", "holders", "image", "mountinfo", "observe", "spec")
)
_LOOKS = ("devices", "look", "_value", "servers", "_own", "read", "load", "work_folder")


def converge(entry: dict[str, t.Any]) -> bool:
    """What the module does; whether it changed something."""
    floor = MountFloor()
    works = _floor.parse_all(floor, [entry])
    _floor.converge(floor, None, works, check_mode=False)
    if works[0].error is not None:
        raise works[0].error
    return bool(works[0].changes)


def killed(entry: dict[str, t.Any], line: int) -> bool:
    """Runs it in a process of its own up to a line; False when it has come to its end before."""
    pid = os.fork()
    if pid == 0:
        passed = 0

        def trace(frame: types.FrameType, event: str, _arg: t.Any) -> t.Any:
            nonlocal passed
            code = frame.f_code
            if (
                "/_image_mount/" not in code.co_filename
                or code.co_filename.endswith(_READERS)
                or code.co_name in _LOOKS
            ):
                return None
            passed += event == "line"
            if passed == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            converge(entry)
        except BaseException as exc:  # noqa: BLE001 - this process has nobody to tell
            print(exc, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    if status not in (0, signal.SIGKILL):
        sys.exit(f"it failed before line {line}")
    return status != 0


def left(entry: dict[str, t.Any]) -> list[str]:
    """Everything that there should not be."""
    # Loop devices are those of the whole machine, where another host may have such mounts too.
    names = (entry["mountpoint"], entry["path"], work_folder(entry["mountpoint"]))
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        found = [line for line in file if any(name in line for name in names)]
    loops = subprocess.run(["losetup", "--list", "--noheadings"], capture_output=True, text=True, check=True)
    found += [line for line in loops.stdout.splitlines() if any(name in line for name in names)]
    found += os.listdir(_STATE) if os.path.isdir(_STATE) else []
    found += [entry["mountpoint"]] if os.path.exists(entry["mountpoint"]) else []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                words = file.read()
        except OSError:
            continue
        if _STATE in words:
            found.append(words.replace("\0", " "))
    return found


def walk(entry: dict[str, t.Any], state: str, stride: int) -> int:
    """Kills at line after line of one state; how often it was killed."""
    gone = {**entry, "state": "unmounted"}
    line = kills = 0
    more = True
    while more:
        line += stride
        if state == "unmounted":
            converge(entry)
        more = killed({**entry, "state": state}, line)
        kills += more
        if kills % 2:
            converge(entry)
            if converge(entry):
                sys.exit(f"after a kill at line {line}: mounting it again changes something")
        converge(gone)
        if converge(gone):
            sys.exit(f"after a kill at line {line}: unmounting it again changes something")
        if left(entry):
            sys.exit(f"after a kill at line {line} of {state}: {left(entry)}")
    return kills


def main() -> None:
    stride, entry = int(sys.argv[1]), json.loads(sys.argv[2])
    counts = {state: walk(entry, state, stride) for state in ("mounted", "unmounted")}
    print(json.dumps(counts))
    if min(counts.values()) < 5:
        sys.exit("it was hardly killed at all")


if __name__ == "__main__":
    main()
