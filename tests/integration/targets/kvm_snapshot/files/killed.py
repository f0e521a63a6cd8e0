# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""killed.py FOLDER: makes, reverts and removes snapshots of it-off and it-live, and is killed at line after line that it passes.

After each kill the same is asked for again: it has to come to its end, a third time changes nothing, and the disks have what was
written to them. With the collection on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import types
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _floor
from ansible_collections.hypervisor.kvm.plugins.modules.kvm_snapshot import SnapshotFloor

FOLDER = sys.argv[1]
ADDRESS = "192.168.66.11"
#: What only reads cannot be killed too early or too late.
_WRITERS = ("/_snapshot/apply.py", "/_snapshot/merging.py", "/_snapshot/reverting.py", "/_libvirt/blockjobs.py")
#: Loops that look again and again.
_LOOKS = ("_off", "wait", "settle", "_ready", "job", "mirror")
_AT = 65536


def converge(entry: dict[str, t.Any]) -> bool:
    """What the module does; whether it changed something."""
    floor = SnapshotFloor()
    works = _floor.parse_all(floor, [entry])
    with floor.session({"uri": "qemu:///system"}) as session:
        _floor.converge(floor, session, works, check_mode=False)
    if works[0].error is not None:
        raise works[0].error
    return bool(works[0].changes)


def run(entry: dict[str, t.Any], line: int = 0) -> str:
    """Runs it in a process of its own up to a line (0: to its end); ``killed``, ``changed``, ``same`` or an error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        passed = 0

        def trace(frame: types.FrameType, event: str, _arg: t.Any) -> t.Any:
            nonlocal passed
            code = frame.f_code
            if not code.co_filename.endswith(_WRITERS) or code.co_name in _LOOKS:
                return None
            passed += event == "line"
            if passed == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        if line:
            sys.settrace(trace)
        try:
            said = "changed" if converge(entry) else "same"
        except BaseException as exc:  # noqa: BLE001 - this process has nobody else to tell
            said = f"failed: {exc!r}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said or "killed"


def must(entry: dict[str, t.Any], wanted: str, when: str) -> None:
    said = run(entry)
    if said not in wanted.split():
        sys.exit(f"{when}: {entry} came to '{said}', not {wanted}")


def shell(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def source(domain: str, target: str) -> str:
    lines = (line.split() for line in shell("virsh", "domblklist", domain).splitlines())
    return next(words[1] for words in lines if words[:1] == [target])


def write(domain: str, text: str) -> None:
    """Sixteen letters to the same place of both disks."""
    for target in ("vda", "vdb"):
        if domain == "it-live":
            with socket.create_connection((ADDRESS, 9), timeout=30) as guest:
                guest.sendall(f"write {target} {_AT} {text}\n".encode())
                if guest.recv(64) != b"written\n":
                    sys.exit(f"the guest could not write to {target}")
            continue
        path = os.path.join(FOLDER, "word")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        top = source(domain, target)
        form = "raw" if top.endswith(".raw") else "qcow2"
        shell("qemu-io", "-f", form, "-c", f"write -q -s {path} {_AT} 512", top)
        os.unlink(path)


def check(domain: str, text: str, when: str) -> None:
    """What is in the disks, read by qemu-img through all that they stand on."""
    copy = os.path.join(FOLDER, "copy")
    for target in ("vda", "vdb"):
        top = source(domain, target)
        form = "raw" if top.endswith(".raw") else "qcow2"
        shell("qemu-img", "convert", "-U", "-f", form, "-O", "raw", top, copy)
        with open(copy, "rb") as file:
            file.seek(_AT)
            found = file.read(16).decode("latin-1")
        os.unlink(copy)
        if found != text:
            sys.exit(f"{when}: disk {target} of {domain} has '{found}', not '{text}'")


def left(domain: str, when: str) -> None:
    """Everything that there should not be when the snapshot is gone."""
    short = domain[3:]
    known = {"off": ["off.qcow2", "off.raw"], "live": ["live.log", "live.qcow2", "live.raw"]}[short]
    found = sorted(name for name in os.listdir(FOLDER) if name.startswith(short))
    documents = shell("virsh", "dumpxml", domain) + shell("virsh", "dumpxml", "--inactive", domain)
    snapshots = shell("virsh", "snapshot-list", domain, "--name").split()
    sources = [os.path.basename(source(domain, target)) for target in ("vda", "vdb")]
    if found != known or snapshots or "kvm:snapshot" in documents or "<mirror" in documents or sources != known[-2:]:
        sys.exit(f"{when}: {domain} has files {found}, snapshots {snapshots}, disks {sources}")


def walk(domain: str, state: str, stride: int) -> int:
    """Kills at line after line of one state; how often it was killed."""
    made = {"domain": domain, "name": "cut", "kind": "external", "disk_only": True, "agent_timeout": 30}
    made = made if domain == "it-live" else {key: value for key, value in made.items() if key != "disk_only"}
    line = kills = 0
    said = "killed"
    while said == "killed":
        line += stride
        when = f"{state} of {domain} killed at line {line}"
        texts = [f"{kind}-{domain[3:]:4}-{line:06}".replace(" ", "_") for kind in ("base", "over")]
        write(domain, texts[0])
        asked = {**made, "state": state, **({"running": domain == "it-live"} if state == "reverted" else {})}
        if state != "present":
            must(made, "changed", f"before {when}")
            write(domain, texts[1])
        said = run(asked, line)
        if said not in ("killed", "changed"):
            sys.exit(f"{when}: {said}")
        kills += said == "killed"
        must(asked, "changed same", when)
        must(asked, "same", f"once more after {when}")
        check(domain, texts[1] if state == "absent" else texts[0], when)
        if state != "absent":
            must({**made, "state": "absent"}, "changed", f"removing after {when}")
        left(domain, when)
    return kills


def main() -> None:
    walks = [("it-off", "present", 3), ("it-off", "absent", 29), ("it-off", "reverted", 23), ("it-live", "absent", 41)]
    counts = {f"{state} {domain}": walk(domain, state, stride) for domain, state, stride in walks}
    print(json.dumps(counts))
    if min(counts.values()) < 2:
        sys.exit("it was hardly killed at all")


if __name__ == "__main__":
    main()
