# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domain bench: what kvm_domain takes for a thousand domains, beside libvirt's own API and community.libvirt.

Runs on a plain host of the lab (domain.bench starts it there), with a libvirtd that nobody else uses.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from common import BenchError, Method, Sample, Targets, compete, run, say, table
from on_lab import Start, command_line
from tasks import PYTHON, ROOT, Controller, Task

HERE = Path(__file__).resolve().parent
PROGRAMS = ROOT / ".venv" / "bench" / "bin"
#: Domains that are not started have images that nothing reads.
_IMAGE_SIZE = 1 << 20
_PORT, _LATER = 2222, 8.0
#: More do not make libvirtd define domains any faster.
_THREADS = 8
_REMEMBERED = Path("/var/cache/hypervisor.kvm/domains.json")


@dataclass
class Bench:
    """What the parts have in common; ``count`` is how many domains "a thousand" are."""

    scratch: Path
    controller: Controller
    targets: Targets
    count: int
    repeats: int
    #: What was measured of kvm_domain, for the part that compares with a peer.
    ours: dict[str, Method] = field(default_factory=dict)
    #: The API's own times for new domains.
    floors: dict[str, Method] = field(default_factory=dict)

    def variables(self, count: int) -> Path:
        """A file with ``domains``, the declarations of so many."""
        path = self.scratch / f"domains-{count}.json"
        if not path.exists():
            path.write_text(json.dumps({"domains": [self.declaration(number) for number in range(count)]}))
        return path

    def declaration(self, number: int) -> dict[str, t.Any]:
        """One domain as a task of kvm_domain has it: what a small server has."""
        image = self.scratch / "images" / f"bench-{number:04}.img"
        if not image.exists():
            image.parent.mkdir(exist_ok=True)
            with image.open("xb") as file:
                file.truncate(_IMAGE_SIZE)
        return {
            "name": image.stem,
            "state": "defined",
            "type": "qemu",
            "memory": "1GiB",
            "vcpus": 2,
            "title": f"Number {number}",
            "os": {"machine": "q35", "boot": ["hd"]},
            "disks": [{"target": "vda", "source": str(image), "format": "raw", "cache": "none"}],
            "interfaces": [{"type": "network", "source": "bench"}],
            "serials": [{"type": "pty"}],
            "channels": [{}],
            "graphics": [{"type": "vnc"}],
        }

    def task(self, name: str, count: int) -> Task:
        """The task for so many domains."""
        return self.controller.pack(name, "kvm_domain", {"domains": "{{ domains }}"}, self.variables(count))


def _virsh(*words: str) -> str:
    return run(["virsh", "--quiet", *words])


def _clear() -> None:
    run([PYTHON, HERE / "domain_raw.py", "clear"])


def _expect(count: int) -> None:
    found = len(_virsh("list", "--all", "--name").split())
    if found != count:
        raise BenchError(f"there are {found} domains instead of {count}")


def _raw(*words: str | Path) -> Sample:
    told = json.loads(run([PYTHON, HERE / "domain_raw.py", *words]))
    return Sample(told["seconds"], told["cpu"], None)


def _told(task: Task, changed: bool) -> None:
    result = task.results[-1]
    if bool(result["changed"]) is not changed:
        raise BenchError(f"{task.module} said changed: {result['changed']}")


def _inside(bench: Bench, name: str, task: Task, count: int, changed: bool, prepare: t.Callable[[], None]) -> Method:
    def verify() -> None:
        _told(task, changed)
        _expect(count)

    return Method(name, task.inside, prepare=prepare, verify=verify, repeats=bench.repeats)


def _forget() -> None:
    _REMEMBERED.unlink()


def nothing() -> None:
    """Nothing to prepare."""


def new(bench: Bench) -> None:
    """All of them new."""
    task = bench.task("new", bench.count)
    _clear()
    task.process()
    _expect(bench.count)
    file = bench.scratch / "documents.json"
    _raw("documents", file)
    raw = Method(
        "libvirt's API: defineXML of each",
        lambda: _raw("define", file),
        prepare=_clear,
        verify=lambda: _expect(bench.count),
        repeats=bench.repeats,
    )
    # What no program can be faster than: the daemon has all the processors, and always the next question.
    several = Method(
        f"libvirt's API: the same by {_THREADS} threads",
        lambda: _raw("define", file, str(_THREADS)),
        prepare=_clear,
        verify=lambda: _expect(bench.count),
        repeats=bench.repeats,
    )
    ours = _inside(bench, "kvm_domain: the module's own time", task, bench.count, True, _clear)
    compete([raw, several, ours], [])
    bench.ours["new"], bench.floors = ours, {"one after the other": raw, f"by {_THREADS} threads": several}
    table(f"## {bench.count} new domains", [raw, several, ours], raw)
    bench.targets.at_most("kvm_domain / defineXML of each", ours.seconds / raw.seconds, 1.5, "x")


def same(bench: Bench) -> None:
    """Nothing to do, by the module, by the API, by a playbook, and in smaller and larger numbers."""
    floors: dict[int, tuple[Method, Method]] = {}
    for count in sorted({10, 100, bench.count, 2 * bench.count}):
        _clear()
        task = bench.task(f"same-{count}", count)
        task.process()
        _expect(count)
        first = _inside(bench, f"kvm_domain: the run after that which made {count}", task, count, False, nothing)
        first.repeats = 1
        compete([first], [])
        # As after a change by somebody else of each of them, or of the program.
        anew = _inside(bench, f"kvm_domain: the same, with nothing remembered of {count}", task, count, False, _forget)
        anew.repeats = 1
        compete([anew], [])
        raw = Method(f"libvirt's API: list, XMLDesc and parse of {count}", lambda: _raw("read"), repeats=bench.repeats)
        ours = _inside(bench, f"kvm_domain: the module's own time for {count}", task, count, False, nothing)
        methods = [raw, ours]
        if count == bench.count:
            bench.ours["nothing to do"] = ours
            whole = Method(f"kvm_domain: the whole process for {count}", task.process, repeats=bench.repeats)
            play = Method(
                f"ansible-playbook: the whole run for {count}", lambda: _playbook(bench), repeats=bench.repeats
            )
            methods += [whole, play]
        compete(methods, [])
        table(f"## {count} domains, nothing to do", [*methods, first, anew], raw)
        floors[count] = (raw, ours)
        if count == bench.count:
            bench.targets.at_most("kvm_domain / the floor", ours.seconds / raw.seconds, 1.5, "x")
            bench.targets.at_most("ansible-playbook / the floor", play.seconds / raw.seconds, 10, "x")
    few, many = (floors[count][1].seconds / count * 1000 for count in (100, 2 * bench.count))
    print(f"- a domain of 100: {few:.2f} ms, of {2 * bench.count}: {many:.2f} ms", flush=True)
    bench.targets.at_most(f"a domain of {2 * bench.count} / a domain of 100", many / few, 1.1, "x")


def _playbook(bench: Bench) -> None:
    place = bench.scratch / "play"
    if not place.exists():
        (place / "group_vars").mkdir(parents=True)
        shutil.copy(bench.variables(bench.count), place / "group_vars" / "all.json")
        task = {"name": "Keep the domains", "hypervisor.kvm.kvm_domain": {"domains": "{{ domains }}"}}
        play = [{"hosts": "all", "gather_facts": False, "tasks": [task]}]
        (place / "site.json").write_text(json.dumps(play))
        (place / "hosts.ini").write_text(f"localhost ansible_connection=local ansible_python_interpreter={PYTHON}\n")
    said = run(
        [PROGRAMS / "ansible-playbook", "-i", place / "hosts.ini", place / "site.json"],
        env=bench.controller.env("play"),
    )
    if "changed=0" not in said or "failed=0" not in said:
        raise BenchError(f"the playbook did something: {said[-500:]}")


def peer(bench: Bench) -> None:
    """community.libvirt in a loop, which takes so long that some domains have to do."""
    count = min(20, bench.count)
    _clear()
    bench.task(f"peer-{count}", count).process()
    place = bench.scratch / "peer"
    place.mkdir()
    _raw("documents", place / "documents.json")
    documents = json.loads((place / "documents.json").read_text())
    module = {"command": "define", "xml": "{{ item }}"}
    task = {
        "name": "Define",
        "community.libvirt.virt": module,
        "loop": "{{ documents }}",
        "loop_control": {"label": ""},
    }
    (place / "site.json").write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "vars": {"documents": documents}, "tasks": [task]}])
    )
    (place / "hosts.ini").write_text(f"localhost ansible_connection=local ansible_python_interpreter={PYTHON}\n")
    argv: list[str | Path] = [PROGRAMS / "ansible-playbook", "-i", place / "hosts.ini", place / "site.json"]
    loop = Method(f"community.libvirt: a loop over {count}", lambda: _ran(argv, bench), repeats=min(3, bench.repeats))
    gone = Method(
        f"community.libvirt: a loop over {count} new",
        lambda: _ran(argv, bench),
        prepare=_clear,
        verify=lambda: _expect(count),
        repeats=min(3, bench.repeats),
    )
    compete([loop], [])
    compete([gone], [])
    for part, name in ((new, "new"), (same, "nothing to do")):
        if name not in bench.ours:
            part(bench)
    table("## Beside community.libvirt", [loop, gone, *bench.ours.values()], loop)
    for what, theirs in (("nothing to do", loop), ("new", gone)):
        mine = bench.ours[what]
        ratio = (theirs.seconds / count) / (mine.seconds / bench.count)
        bench.targets.at_least(
            f"a domain of community.libvirt's loop / one of kvm_domain's list, {what}", ratio, 300, "x"
        )
    for how, floor in bench.floors.items():
        limit = (gone.seconds / count) / (floor.seconds / bench.count)
        print(f"- the same for new ones by libvirt's API alone, {how}: {limit:.0f}x")


def _ran(argv: t.Sequence[str | Path], bench: Bench) -> None:
    run(argv, env=bench.controller.env("peer"))


@contextlib.contextmanager
def _greeters(addresses: t.Sequence[str], later: float) -> t.Iterator[None]:
    """Servers that greet like SSH from ``later`` seconds after the first knock."""
    servers = [socket.create_server((address, _PORT)) for address in addresses]
    begun: list[float] = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                peer_socket, _address = server.accept()
            except OSError:
                return
            begun.append(time.monotonic())
            with peer_socket, contextlib.suppress(OSError):
                if time.monotonic() - begun[0] >= later:
                    peer_socket.sendall(b"SSH-2.0-bench\r\n")

    threads = [threading.Thread(target=serve, args=(server,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def waits(bench: Bench) -> None:
    """A hundred running domains whose guests answer after some seconds, against one."""
    _clear()
    methods = []
    for count in (1, 100 if bench.count >= 100 else bench.count):
        domains = [
            {
                "name": f"wait-{number:03}",
                "state": "running",
                "type": "qemu",
                "memory": "16MiB",
                "wait_for": {"ssh": {"address": f"127.0.9.{number + 1}", "port": _PORT}},
                "wait_timeout": 120,
            }
            for number in range(count)
        ]
        file = bench.scratch / f"waits-{count}.json"
        file.write_text(json.dumps({"domains": domains}))
        task = bench.controller.pack(f"waits-{count}", "kvm_domain", {"domains": "{{ domains }}"}, file)

        def work(task: Task = task, count: int = count) -> Sample:
            with _greeters([f"127.0.9.{number + 1}" for number in range(count)], _LATER):
                return task.inside()

        with _greeters([f"127.0.9.{number + 1}" for number in range(count)], 0):
            task.process()
        methods.append(Method(f"kvm_domain: waits for {count}", work, repeats=min(3, bench.repeats)))
    compete(methods, [])
    table(f"## Waiting: running domains whose guests answer {_LATER:g} s after the first try", methods, methods[0])
    bench.targets.at_most("waiting for 100 / waiting for one", methods[1].seconds / methods[0].seconds, 1.25, "x")
    _clear()


PARTS: dict[str, t.Callable[[Bench], None]] = {"new": new, "same": same, "peer": peer, "waits": waits}


def parts(start: Start) -> None:
    """All parts, or those that are asked for."""
    count, repeats = (30, 2) if start.quick else (1000, 5)
    network = start.scratch / "network.xml"
    network.write_text("<network><name>bench</name><ip address='192.168.199.1' prefix='24'/></network>")
    _virsh("net-define", str(network))
    start.tell(_virsh("version").splitlines()[0])
    common = Bench(start.scratch, start.controller, start.targets, count, repeats)
    for name in start.parts:
        say(f"part {name}")
        PARTS[name](common)


if __name__ == "__main__":
    sys.exit(command_line("domain", __doc__, "undefine the domains", PROGRAMS, PARTS, parts))
