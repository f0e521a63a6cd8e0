# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NAT bench: what kvm_nat takes, beside the bare programs of iptables and ansible.builtin.iptables.

Runs on a plain host of the lab (nat.bench starts it there), with a firewall that nobody else uses.
"""

from __future__ import annotations

import json
import shutil
import sys
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from common import BenchError, Method, Targets, compete, run, say, table
from on_lab import Start, command_line
from tasks import PYTHON, ROOT, Controller, Task

PROGRAMS = ROOT / ".venv" / "demo" / "bin"
_RECORDS = Path("/etc/kvm_nat")
_SYSCTL = Path("/etc/sysctl.d/60-kvm-nat.conf")
_NFTABLES = "nftables"
#: The legacy one last: its tables stay in the kernel, also empty, as on no host that has not used it.
_BACKENDS = ("iptables-nft", _NFTABLES, "iptables-legacy")
#: The guide's rules by table, without CHECKSUM, which ansible.builtin.iptables cannot say.
_MASQUERADE = {"table": "nat", "chain": "POSTROUTING", "source": "192.168.0.0/24", "destination": "!192.168.0.0/24"}
_TWELVE: list[dict[str, t.Any]] = [
    {**_MASQUERADE, "protocol": "tcp", "jump": "MASQUERADE", "to_ports": "1024-65535"},
    {**_MASQUERADE, "protocol": "udp", "jump": "MASQUERADE", "to_ports": "1024-65535"},
    {**_MASQUERADE, "jump": "MASQUERADE"},
    *(
        {
            "chain": "INPUT",
            "in_interface": "br0",
            "protocol": protocol,
            "match": [protocol],
            "destination_port": str(port),
            "jump": "ACCEPT",
        }
        for port, protocol in ((53, "udp"), (53, "tcp"), (67, "udp"), (67, "tcp"))
    ),
    {
        "chain": "FORWARD",
        "destination": "192.168.0.0/24",
        "out_interface": "br0",
        "match": ["state"],
        "ctstate": ["RELATED", "ESTABLISHED"],
        "jump": "ACCEPT",
    },
    {"chain": "FORWARD", "source": "192.168.0.0/24", "in_interface": "br0", "jump": "ACCEPT"},
    {"chain": "FORWARD", "in_interface": "br0", "out_interface": "br0", "jump": "ACCEPT"},
    {"chain": "FORWARD", "out_interface": "br0", "jump": "REJECT", "reject_with": "icmp-port-unreachable"},
    {"chain": "FORWARD", "in_interface": "br0", "jump": "REJECT", "reject_with": "icmp-port-unreachable"},
]


@dataclass
class Bench:
    """What the parts have in common; ``foreign`` is how many rules of others "ten thousand" are."""

    scratch: Path
    controller: Controller
    targets: Targets
    foreign: int
    repeats: int
    backend: str
    tasks: dict[int, Task] = field(default_factory=dict)
    #: How often others have changed a rule.
    disturbed: int = 0

    def task(self, bridges: int) -> Task:
        """The task for so many bridges."""
        if bridges not in self.tasks:
            nats = [{"bridge": f"br{number}", "subnets": [f"10.{number}.0.0/24"]} for number in range(bridges)]
            wanted = {"nats": nats, "backend": self.backend, "persist": "none"}
            self.tasks[bridges] = self.controller.pack(f"{self.backend}-{bridges}", "kvm_nat", wanted)
        return self.tasks[bridges]

    def save(self) -> str:
        """All rules as the bare program says them; of nft those of our table, which has to be there."""
        return run(
            ["nft", "-s", "list", "table", "ip", "kvm_nat"] if self.backend == _NFTABLES else [f"{self.backend}-save"]
        )

    def restore(self, text: str) -> None:
        """Adds rules."""
        run(["nft", "-f", "-"] if self.backend == _NFTABLES else [f"{self.backend}-restore", "--noflush"], input=text)

    def bare(self, payload: str) -> None:
        """What has to be done by any program: look, write, look again."""
        if self.backend == _NFTABLES:
            run(["nft", "list", "tables"])
        else:
            self.save()
        self.restore(payload)
        self.save()

    def rules(self) -> int:
        """How many rules there are."""
        sign = " counter " if self.backend == _NFTABLES else "-A "
        return sum(sign in line for line in self.save().splitlines())

    def load_foreign(self, inside: bool) -> None:
        """Rules of others: in chains of their own, or in FORWARD and POSTROUTING themselves."""
        lines = ["*filter", ":others - [0:0]", "-A INPUT -j others", "-A FORWARD -j others"]
        lines.append("-A OUTPUT -d 192.0.2.0/32 -j ACCEPT")
        chain = "FORWARD" if inside else "others"
        for number in range(self.foreign * 8 // 10):
            address = f"172.{16 + number // 65536}.{number // 256 % 256}.{number % 256}"
            lines.append(
                f"-A {chain} -s {address}/32 -i eth{number % 9} -p tcp -m tcp --dport {1 + number % 65000} -j ACCEPT"
            )
        lines += ["COMMIT", "*nat", ":others - [0:0]", "-A POSTROUTING -j others"]
        chain = "POSTROUTING" if inside else "others"
        for number in range(self.foreign * 2 // 10):
            lines.append(
                f"-A {chain} -s 172.31.{number // 256 % 256}.{number % 256}/32 -o eth{number % 9} -j SNAT --to-source 192.0.2.1"
            )
        program = "iptables-nft" if self.backend == _NFTABLES else self.backend
        run([f"{program}-restore", "--noflush"], input="\n".join([*lines, "COMMIT", ""]))


def _clear() -> None:
    """No rules, no records."""
    run(["nft", "flush", "ruleset"])
    for name in Path("/proc/net/ip_tables_names").read_text().split():
        run(["iptables-legacy", "-t", name, "-F"])
        run(["iptables-legacy", "-t", name, "-X"])
    shutil.rmtree(_RECORDS, ignore_errors=True)
    _SYSCTL.unlink(missing_ok=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def _expect(bench: Bench, rules: int) -> None:
    found = bench.rules()
    if found != rules:
        raise BenchError(f"there are {found} rules instead of {rules}")


def _changed(task: Task, changed: bool) -> None:
    if bool(task.results[-1]["changed"]) is not changed:
        raise BenchError(f"kvm_nat said changed: {task.results[-1]['changed']}")


def first(bench: Bench) -> None:
    """The rules of one bridge on a host without any."""
    task = bench.task(1)
    _clear()
    task.process()
    payload = "".join("\n".join(one["input"]) + "\n" for one in task.results[-1]["results"][0]["commands"])

    def verify() -> None:
        _changed(task, changed=True)
        _expect(bench, 13)

    raw = Method(
        f"{bench.backend}: save, restore, save",
        lambda: bench.bare(payload),
        prepare=_clear,
        verify=lambda: _expect(bench, 13),
        repeats=bench.repeats,
    )
    ours = Method("kvm_nat: the module's own time", task.inside, prepare=_clear, verify=verify, repeats=bench.repeats)
    whole = Method("kvm_nat: the whole process", task.process, prepare=_clear, verify=verify, repeats=bench.repeats)
    compete([raw, ours, whole], [])
    table(f"## {bench.backend}: one bridge, first apply", [raw, ours, whole], raw)
    bench.targets.at_most("kvm_nat / save, restore, save", ours.seconds / raw.seconds, 1.5, "x")


def same(bench: Bench) -> None:
    """Nothing to do beside many rules of others."""
    for inside in (False, True):
        where = "in FORWARD and POSTROUTING" if inside else "in chains of their own"
        _clear()
        bench.load_foreign(inside)
        task = bench.task(1)
        for _run in range(2):
            task.process()
        rules = bench.rules()

        def verify(task: Task = task, rules: int = rules) -> None:
            _changed(task, changed=False)
            _expect(bench, rules)

        raw = Method(f"{bench.backend}: one bare save", lambda: _saved(bench), repeats=bench.repeats)
        methods = [raw]
        # Beside a table of nft the rules of iptables have to be known as well.
        everything = raw
        if bench.backend == _NFTABLES:
            everything = Method(
                "nftables: one bare save, and one of iptables", lambda: _all_saved(bench), repeats=bench.repeats
            )
            methods.append(everything)
        ours = Method("kvm_nat: the module's own time", task.inside, verify=verify, repeats=bench.repeats)
        # The kernel counts changes: that nothing has to be read again is not how it is on every host.
        again = Method(
            "kvm_nat: the same, others have changed a rule",
            task.inside,
            prepare=lambda: _disturb(bench),
            verify=verify,
            repeats=bench.repeats,
        )
        whole = Method("kvm_nat: the whole process", task.process, verify=verify, repeats=bench.repeats)
        # What others change before the last of a turn is known again in the next turn.
        compete([*methods, ours, whole, again], [])
        title = f"## {bench.backend}: nothing to do beside {bench.foreign} rules of others {where}"
        table(title, [*methods, ours, again, whole], raw)
        bench.targets.at_most("kvm_nat / one bare save", ours.seconds / raw.seconds, 1.5, "x")
        what = "kvm_nat / one bare save of all that it reads, others have changed a rule"
        bench.targets.at_most(what, again.seconds / everything.seconds, 1.5, "x")


def _all_saved(bench: Bench) -> None:
    bench.save()
    run(["iptables-nft-save"])


def _disturb(bench: Bench) -> None:
    """Somebody makes another one of a rule."""
    program = "iptables-nft" if bench.backend == _NFTABLES else bench.backend
    bench.disturbed += 1
    run([program, "-R", "OUTPUT", "1", "-d", f"192.0.2.{bench.disturbed}", "-j", "ACCEPT"])


def _saved(bench: Bench) -> None:
    bench.save()


def many(bench: Bench) -> None:
    """Fifty bridges in one call, new and with nothing to do: the whole call, and the module's own part of it."""
    for new in (True, False):
        what = "new" if new else "nothing to do"
        inside: list[Method] = []
        whole: list[Method] = []
        for count in (1, 50):
            task = bench.task(count)
            _clear()
            task.process()

            def verify(task: Task = task, count: int = count, new: bool = new) -> None:
                _changed(task, changed=new)
                _expect(bench, 13 * count)

            prepare = _clear if new else None
            for methods, kind, work in (
                (whole, "the whole process", task.process),
                (inside, "the module's own time", task.inside),
            ):
                name = f"kvm_nat: {kind} for {count}, {what}"
                methods.append(Method(name, work, prepare=prepare, verify=verify, repeats=bench.repeats))
            compete([whole[-1], inside[-1]], [])
        table(f"## {bench.backend}: many bridges in one call, {what}", [*whole, *inside], whole[0])
        bench.targets.at_most(
            f"a call for 50 bridges / one for one, {what}", whole[1].seconds / whole[0].seconds, 3, "x"
        )
        print(f"- the module's own time for 50 / for one: {inside[1].seconds / inside[0].seconds:.2f}x", flush=True)


def peer(bench: Bench) -> None:
    """A playbook with one task of kvm_nat, and one with the same rules as tasks of ansible.builtin.iptables."""
    if bench.backend != _BACKENDS[0]:
        return
    tasks = {
        "kvm_nat": [
            {
                "name": "NAT",
                "hypervisor.kvm.kvm_nat": {
                    "bridge": "br0",
                    "subnets": ["192.168.0.0/24"],
                    "backend": bench.backend,
                    "persist": "none",
                    "ip_forward": "ignore",
                },
            }
        ],
        "ansible.builtin.iptables": [
            {"name": f"Rule {number}", "ansible.builtin.iptables": rule} for number, rule in enumerate(_TWELVE, 1)
        ],
    }
    # What every run takes, whatever its tasks are: it is none of theirs.
    nothing = _playbook(bench, "nothing", [{"name": "Nothing", "ansible.builtin.meta": "noop"}])
    empty = Method("ansible-playbook without a task", lambda: _nothing(bench, nothing), repeats=min(9, bench.repeats))
    fresh, again = [], []
    for name, several in tasks.items():
        argv = _playbook(bench, name, several)
        rules = 13 if name == "kvm_nat" else 12
        new = Method(
            f"ansible-playbook with {name}, new",
            lambda argv=argv: _ran(bench, argv, True),  # type: ignore[misc]
            prepare=_clear,
            verify=lambda rules=rules: _expect(bench, rules),  # type: ignore[misc]
            repeats=empty.repeats,
        )
        same_again = Method(
            f"ansible-playbook with {name}, nothing to do",
            lambda argv=argv: _ran(bench, argv, False),  # type: ignore[misc]
            repeats=empty.repeats,
        )
        fresh.append(new)
        again.append(same_again)
    # Each has nothing to do right after it was new.
    compete([empty, fresh[0], again[0], fresh[1], again[1]], [])
    title = "## Beside ansible.builtin.iptables (12 of the 13 rules: it cannot say CHECKSUM)"
    table(title, [empty, *fresh, *again], fresh[0])
    for what, (ours, theirs) in (("new", fresh), ("nothing to do", again)):
        tasks_only = (theirs.seconds - empty.seconds) / (ours.seconds - empty.seconds)
        bench.targets.at_least(f"tasks of ansible.builtin.iptables / of kvm_nat, {what}", tasks_only, 4, "x")
        print(f"- the whole runs, {what}: {theirs.seconds / ours.seconds:.3g}x", flush=True)


def _playbook(bench: Bench, name: str, tasks: list[dict[str, t.Any]]) -> list[str | Path]:
    place = bench.scratch / f"play-{name}"
    place.mkdir()
    (place / "site.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    (place / "hosts.ini").write_text(f"localhost ansible_connection=local ansible_python_interpreter={PYTHON}\n")
    return [PROGRAMS / "ansible-playbook", "-i", place / "hosts.ini", place / "site.json"]


def _nothing(bench: Bench, argv: t.Sequence[str | Path]) -> None:
    run(argv, env=bench.controller.env("play"))


def _ran(bench: Bench, argv: t.Sequence[str | Path], changed: bool) -> None:
    said = run(argv, env=bench.controller.env("play"))
    if "failed=0" not in said or ("changed=0" in said) is changed:
        raise BenchError(f"the playbook did something else: {said[-500:]}")


PARTS: dict[str, t.Callable[[Bench], None]] = {"first": first, "same": same, "many": many, "peer": peer}


def parts(start: Start) -> None:
    """All parts, or those that are asked for, with both kinds of iptables and nft."""
    foreign, repeats = (500, 3) if start.quick else (10000, 15)
    start.tell(run(["iptables", "--version"]).strip())
    for backend in _BACKENDS:
        # What the one before left would be in the way of a table of nft.
        _clear()
        common = Bench(start.scratch, start.controller, start.targets, foreign, repeats, backend)
        for name in start.parts:
            say(f"part {name}, {backend}")
            PARTS[name](common)


if __name__ == "__main__":
    sys.exit(command_line("nat", __doc__, "flush the rules", PROGRAMS, PARTS, parts))
