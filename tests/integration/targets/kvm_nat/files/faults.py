# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong: ``faults.py killed|moved|failing|together|replayed|replayed6 BACKEND COLLECTIONS``.

Runs the module as a program of its own (COLLECTIONS is the folder that has ansible_collections) and judges by what
the save program of BACKEND shows. Expects no rules of ours and no records, and leaves none (but replayed6).
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

WHAT, BACKEND, COLLECTIONS = sys.argv[1:4]
MODULE = f"{COLLECTIONS}/ansible_collections/hypervisor/kvm/plugins/modules/kvm_nat.py"
RECORDS = pathlib.Path("/etc/kvm_nat")
SUBNETS = {"old": ["192.168.0.0/24"], "new": ["10.77.0.0/16", "10.78.0.0/16"]}
#: Lines of a table for br0: with no subnets, one, two.
WHOLE = {"filter": (0, 9, 11), "mangle": (0, 1, 1), "nat": (0, 3, 6)}


def start(args: dict[str, Any], env: dict[str, str]) -> subprocess.Popen[str]:
    words = json.dumps({"ANSIBLE_MODULE_ARGS": {"backend": BACKEND, "persist": "none", **args}})
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS, **env}
    return subprocess.Popen(
        [sys.executable, MODULE, words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    if not out.strip():
        sys.exit(f"the module printed nothing: {err}")
    answer: dict[str, Any] = json.loads(out)
    return answer


def module(env: dict[str, str] | None = None, **args: Any) -> dict[str, Any]:
    return finish(start({"bridge": "br0", **args}, env or {}))


def native() -> dict[str, list[str]]:
    """The rules in our table of nft, under the names that their tables have in iptables."""
    listing = ["nft", "-s", "list", "table", "ip", "kvm_nat"]
    shown = subprocess.run(listing, capture_output=True, text=True, timeout=20, check=False).stdout
    found: dict[str, list[str]] = {table: [] for table in WHOLE}
    table, chain = "", ""
    for line in map(str.strip, shown.splitlines()):
        if line.startswith("chain"):
            chain = line.split()[1]
            table = {"input": "filter", "forward": "filter", "checksums": "mangle"}.get(chain, "nat")
        elif "counter " in line:
            found[table].append(f"-A {chain} {line}")
    # A chain that has come anew is listed after the others.
    return {table: sorted(some, key=lambda line: line.split()[1]) for table, some in found.items()}


def lines(name: str = BACKEND) -> dict[str, list[str]]:
    """All rules by table."""
    if name == "nftables":
        return native()
    saved = subprocess.run([f"{name}-save"], capture_output=True, text=True, timeout=20, check=True).stdout
    found: dict[str, list[str]] = {table: [] for table in WHOLE}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A"):
            found.setdefault(table, []).append(line)
    return found


def ours(name: str = BACKEND) -> dict[str, list[str]]:
    signs = (" br0 ", '"br0"', "192.168.0.0/24", "10.77.0.0/16", "10.78.0.0/16")
    return {
        table: [line for line in some if any(sign in line for sign in signs)] for table, some in lines(name).items()
    }


def expect(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        sys.exit(f"{what}: wanted {wanted}, got {found}")


def others(name: str = BACKEND) -> dict[str, list[str]]:
    mine = ours(name)
    return {table: [line for line in some if line not in mine[table]] for table, some in lines(name).items()}


def killed() -> None:
    """SIGKILL at random moments: each table is whole, and the next run repairs."""
    foreign, seen = others(), set()
    duration = time.monotonic()
    module(subnets=SUBNETS["old"])
    duration = time.monotonic() - duration
    clean = ours()
    for number in range(24):
        which = ("new", "old", "absent")[number % 3]
        args = {"state": "absent"} if which == "absent" else {"subnets": SUBNETS[which]}
        process = start({"bridge": "br0", **args}, {})
        # The second half of a run is where it writes.
        time.sleep(duration * random.uniform(0.4, 1.1))
        process.kill()
        process.communicate()
        if BACKEND == "nftables":
            # What is listed while nft, which outlives the module, carries out its transaction may be half of it.
            with open("/run/kvm_nat.lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
        counts = tuple(len(ours()[table]) for table in WHOLE)
        seen.add(counts)
        for table, count in zip(WHOLE, counts):
            if count not in WHOLE[table]:
                sys.exit(f"killed: {count} lines in {table} after run {number}: {ours()[table]}")
        if BACKEND == "nftables" and counts not in zip(*WHOLE.values()):
            sys.exit(f"killed: {counts} lines after run {number}, which is no transaction")
        expect("rules of others after a kill", others(), foreign)
        if number % 4 == 3:
            answer = module(subnets=SUBNETS["old"])
            expect("repaired", (answer.get("failed", False), ours()), (False, clean))
            expect("nothing left to do", module(subnets=SUBNETS["old"])["changed"], False)
    print(f"states after a kill: {sorted(seen)}")
    module(subnets=SUBNETS["new"])
    module(state="absent")
    expect("absent", (sum(map(len, ours().values())), RECORDS.exists()), (0, False))


def moved() -> None:
    """SIGKILL amid a move to another backend: the next run leaves nothing where the rules were."""
    # Where iptables refuses what guests send, its other kind is the only place to go to.
    names, ways = (BACKEND, "iptables-legacy" if BACKEND == "iptables-nft" else "iptables-nft"), set()
    foreign, record = {name: others(name) for name in names}, RECORDS / "br0.rules"

    def where() -> tuple[bool, ...]:
        return tuple(any(ours(name).values()) for name in names)

    new = {"bridge": "br0", "subnets": SUBNETS["new"]}
    for number in range(16):
        module(backend=names[number % 2], subnets=SUBNETS["old"])
        expect(f"before move {number}", where(), (number % 2 == 0, number % 2 == 1))
        process, known, end = (
            start({**new, "backend": names[1 - number % 2]}, {}),
            record.read_text(),
            time.monotonic() + 20,
        )
        while record.read_text() == known and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.communicate()
        ways.add(where())
        with open("/run/kvm_nat.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Where it was to go to, or where it came from.
        last = number // 2 % 2
        answer = module(**new, backend=names[last])
        expect(f"repaired after move {number}", (answer.get("msg"), where()), (None, (last == 0, last == 1)))
        expect("nothing left to do", module(**new, backend=names[last])["changed"], False)
        expect("rules of others", {name: others(name) for name in names}, foreign)
    print(f"where rules were after a kill: {sorted(ways)}")
    module(state="absent")
    expect("absent", (where(), RECORDS.exists()), ((False, False), False))


def failing() -> None:
    """A restore that fails in the last table: all tables and the record are as before."""
    module(subnets=SUBNETS["old"])
    before, record = lines(), (RECORDS / "br0.rules").read_text()
    with tempfile.TemporaryDirectory() as folder:
        # This program fails when it is given a new masquerade rule, as a kernel without that target would.
        name = "nft" if BACKEND == "nftables" else f"{BACKEND}-restore"
        real = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
        wrapper = pathlib.Path(folder) / name
        wrapper.write_text(
            "#!/bin/sh\ntext=$(cat)\ncase $text in *10.77.0.0/16*MASQUERADE*|*10.77.0.0/16*masquerade*) echo 'no such target' >&2; exit 1;; esac\n"
            f'printf \'%s\\n\' "$text" | {real.stdout.strip()} "$@"\n'
        )
        wrapper.chmod(0o755)
        answer = module({"PATH": f"{folder}:{os.environ['PATH']}"}, subnets=SUBNETS["new"])
    expect("failed", (answer.get("failed"), answer.get("rolled_back"), answer["changed"]), (True, True, False))
    if "no such target" not in answer["msg"]:
        sys.exit(f"the reason is missing: {answer['msg']}")
    expect("rolled back", lines(), before)
    expect("record", (RECORDS / "br0.rules").read_text(), record)
    module(state="absent")


def together() -> None:
    """Tasks for the same and for other bridges at once: no rule twice, none lost."""
    foreign = others()
    calls = [{"bridge": f"br{number % 3}", "subnets": [f"10.{number % 3}.0.0/16"]} for number in range(9)]
    answers = [finish(process) for process in [start(call, {}) for call in calls]]
    expect("all went through", [answer.get("msg") for answer in answers if answer.get("failed")], [])
    counts = {table: len(some) - len(foreign[table]) for table, some in lines().items()}
    expect("rules of three bridges", {table: counts[table] for table in WHOLE}, {"filter": 27, "mangle": 3, "nat": 9})
    nats = [{"bridge": f"br{number}", "state": "absent"} for number in range(3)]
    answer = finish(start({"nats": nats}, {}))
    expect("absent", (answer.get("failed", False), lines()), (False, foreign))


def replayed() -> None:
    """The program of the unit: from nothing, in place, misplaced; each time as the module has it."""
    module(subnets=SUBNETS["new"])
    wanted = lines()
    sys.path.insert(0, COLLECTIONS)
    persist = importlib.import_module("ansible_collections.hypervisor.kvm.plugins.module_utils._nat.persist")

    for path, text in persist.files(sys.executable).items():
        if path.startswith(f"{RECORDS}/"):
            pathlib.Path(path).write_text(text)
    record = RECORDS / "br0.rules"
    record.write_text(record.read_text().replace("# persist: none", "# persist: systemd"))
    if BACKEND == "nftables":
        replay_native(wanted)
        return
    remove = {table: [line.replace("-A", "-D", 1) for line in some] for table, some in ours().items()}
    half = {table: some[: len(some) // 2] for table, some in remove.items()}
    for damage in (remove, {}, {}, half, {"filter": ["-I FORWARD 1 -j DROP"]}):
        for table, some in damage.items():
            text = "\n".join([f"*{table}", *some, "COMMIT", ""])
            subprocess.run([f"{BACKEND}-restore", "--noflush"], input=text, text=True, check=True, timeout=20)
        subprocess.run(["/bin/sh", f"{RECORDS}/replay"], check=True, timeout=60)
        mine = {table: [line for line in some if line != "-A FORWARD -j DROP"] for table, some in lines().items()}
        if "filter" in damage and len(damage) == 1:
            forward = [line for line in lines()["filter"] if line.startswith("-A FORWARD")]
            expect("the catch-all is behind", forward.index("-A FORWARD -j DROP") > 6, True)
            drop = "*filter\n-D FORWARD -j DROP\nCOMMIT\n"
            subprocess.run([f"{BACKEND}-restore", "--noflush"], input=drop, text=True, check=True, timeout=20)
        else:
            expect("replayed", mine, wanted)
    module(state="absent")
    expect("the folder", RECORDS.exists(), False)


def replay_native(wanted: dict[str, list[str]]) -> None:
    damages = [
        "delete table ip kvm_nat",
        "",
        "",
        "flush chain ip kvm_nat forward",
        "flush chain ip kvm_nat checksums; delete chain ip kvm_nat checksums",
    ]
    damages.append('add rule ip kvm_nat input iifname "br0" udp dport 53 counter accept')
    damages.append("insert rule ip kvm_nat forward counter drop")
    for damage in damages:
        subprocess.run(["nft", "-f", "-"], input=f"{damage}\n", text=True, check=True, timeout=20)
        expect(f"damaged by {damage}", lines() == wanted, not damage)
        subprocess.run(["/bin/sh", f"{RECORDS}/replay"], check=True, timeout=60)
        expect(
            "replayed",
            {table: [line for line in some if "drop" not in line] for table, some in lines().items()},
            wanted,
        )
    expect(
        "the catch-all is behind",
        [line for line in lines()["filter"] if "forward" in line][-1],
        "-A forward counter drop",
    )
    subprocess.run(["nft", "flush", "chain", "ip", "kvm_nat", "forward"], check=True, timeout=20)
    module(state="absent")
    expect("the folder and the table", (RECORDS.exists(), lines()), (False, {table: [] for table in WHOLE}))


def replayed6() -> None:
    """The same of the records that are there, of both versions of IP: from nothing and in place."""
    sys.path.insert(0, COLLECTIONS)
    persist = importlib.import_module("ansible_collections.hypervisor.kvm.plugins.module_utils._nat.persist")
    programs = {pathlib.Path(path): text for path, text in persist.files(sys.executable).items()}
    programs = {path: text for path, text in programs.items() if path.parent == RECORDS}
    for path, text in programs.items():
        path.write_text(text)
    records = {path: path.read_text() for path in RECORDS.glob("*.rules")}
    for path, text in records.items():
        path.write_text(text.replace("# persist: none", "# persist: systemd"))
    signs = ("br0", "br1", "192.168.0.", "192.168.1.0/24", "fd00:1::", "fd00:2::", "2001:db8:1::", "2001:db8:ff::")
    names = (BACKEND, BACKEND.replace("iptables", "ip6tables"))

    def saved(name: str) -> list[str]:
        text = subprocess.run([f"{name}-save"], capture_output=True, text=True, timeout=20, check=True).stdout
        return [line for line in text.splitlines() if line[:1] in "*-" or line == "COMMIT"]

    wanted = {name: saved(name) for name in names}
    for removed in (True, False):
        for name in names if removed else ():
            some = [line for line in wanted[name] if not line.startswith("-") or any(sign in line for sign in signs)]
            if len([line for line in some if line.startswith("-")]) < 13:
                sys.exit(f"few rules of {name}: {some}")
            text = "\n".join(["-D" + line[2:] if line.startswith("-A") else line for line in some] + [""])
            subprocess.run([f"{name}-restore", "--noflush"], input=text, text=True, check=True, timeout=20)
        subprocess.run(["/bin/sh", str(RECORDS / "replay")], check=True, timeout=60)
        now = {name: saved(name) for name in names}
        # From nothing, the bridges come in the order of their names.
        expect(
            "replayed",
            *({name: sorted(some[name]) if removed else some[name] for name in names} for some in (now, wanted)),
        )
        wanted = now
    for path, text in records.items():
        path.write_text(text)
    for path in programs:
        path.unlink()


if __name__ == "__main__":
    whats = (killed, moved, failing, together, replayed, replayed6)
    {what.__name__: what for what in whats}[WHAT]()
    print(f"{WHAT}: as it has to be")
