# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own tests. They run on the machine itself; where it cannot hold a lab they fail and say why."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab import Lab, LabError
from lab_doctor import problems
from lab_guest import FOLDER, build_tiny, tiny_domain, wait_echo
from lab_rack import BASE

HERE = Path(__file__).resolve().parent
LAB = str(HERE / "lab.py")


def lab(*argv: str, timeout: float = 580, cwd: Path = HERE) -> subprocess.CompletedProcess[str]:
    """Run the command line and return its result."""
    return subprocess.run(
        [sys.executable, LAB, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )


def machine() -> dict[str, str]:
    """Return what a lab must leave as it is: the machine's links, addresses, rules, settings and mounts."""

    def out(*argv: str) -> str:
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=30, check=True).stdout

    state = {
        "links": out("ip", "-o", "link"),
        "addresses": out("ip", "-o", "-4", "addr"),
        "routes": out("ip", "route"),
        "nft": out("nft", "list", "ruleset"),
        # Only those with a name of the lab: others may mount something at the same time. All sources and targets have one.
        "mounts": "\n".join(
            line for line in Path("/proc/self/mounts").read_text("utf-8").splitlines() if "lab" in line
        ),
    }
    for name in ("net/ipv4/ip_forward", "fs/nr_open", "kernel/pid_max", "kernel/random/boot_id", "kernel/hostname"):
        state[name] = Path("/proc/sys", name).read_text(encoding="ascii")
    return state


def processes(*needles: str) -> list[str]:
    """Return the command lines of all processes that contain every needle."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if all(needle in line for needle in needles):
            found.append(line)
    return found


def groups() -> set[str]:
    """Return the names of the lab's control groups on the machine."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return {p.name for mount in mounts if mount[2] == "cgroup2" for p in Path(mount[1]).glob("hvlab-*")}


def gone(what: Callable[[], object], seconds: float = 10) -> bool:
    """Wait until ``what()`` returns something empty; False when it does not in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not what():
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def owner_of(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command line in the background; it is dead when the block ends, however it ends."""
    process = subprocess.Popen(
        [sys.executable, LAB, *argv], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """End a test that hangs. The first one may build the trees: minutes."""

    def late(*_: object) -> None:
        raise TimeoutError("this test took more than ten minutes")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(600)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def untouched() -> Iterator[None]:
    """No test of this file may change the machine."""
    found = problems()
    assert not found, "this machine cannot hold a lab: " + "; ".join(found)
    before = machine()
    yield
    assert machine() == before


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernel and initrd of the tiny guest."""
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    """The newest and the oldest Debian side by side."""
    with Lab({"new": "trixie", "old": "bookworm"}) as both:
        yield both


class TestPlain:
    """The plain host."""

    def test_exit_code_and_output(self) -> None:
        """The command's exit code and output come through."""
        done = lab(
            "plain", "--", "sh", "-c", "virsh -c qemu:///system list --all --name; virsh net-list --name; exit 7"
        )
        assert done.returncode == 7, done.stderr
        assert done.stdout.split() == []  # none of the machine's domains and networks

    def test_killed_command(self) -> None:
        """A command ended by a signal gives 128 and the signal's number."""
        assert lab("plain", "--no-libvirtd", "--", "sh", "-c", "kill -TERM $$").returncode == 143

    def test_writes_vanish_but_in_the_tree(self, tmp_path: Path) -> None:
        """The machine's files are not written, the working folder and --bind-rw are."""
        work, extra = tmp_path / "work", tmp_path / "extra"
        work.mkdir()
        extra.mkdir()
        script = f"touch here {extra}/there {tmp_path}/nowhere /etc/lab-test-nowhere && test -e /etc/lab-test-nowhere"
        done = lab("plain", "--no-libvirtd", "--bind-rw", str(extra), "--", "sh", "-c", script, cwd=work)
        assert done.returncode == 0, done.stderr
        assert (work / "here").exists()
        assert (extra / "there").exists()
        assert not (tmp_path / "nowhere").exists()
        assert not Path("/etc/lab-test-nowhere").exists()

    def test_network_is_its_own(self) -> None:
        """Rules, bridges and forwarding of a plain host are its own (the fixture `untouched` looks at the machine)."""
        script = (
            "set -e; iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE; nft add table ip labtest\n"
            "ip link add labtest0 type bridge; echo 1 > /proc/sys/net/ipv4/ip_forward; ip -o link | wc -l\n"
            "! echo 1 > /proc/sys/kernel/panic; ! ls /sys/fs/cgroup/*\n"
        )
        done = lab("plain", "--no-libvirtd", "--", "sh", "-c", script)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["2"]  # lo and the bridge, nothing of the machine

    def test_outside_sees_the_masqueraded_address(self) -> None:
        """A guest's packets reach the outside only through NAT, and under the host's address."""
        script = (
            "set -e; ip netns add guest; ip link add br9 type bridge; ip addr add 10.9.0.1/24 dev br9; ip link set br9 up\n"
            "ip link add g0 type veth peer name eth0 netns guest; ip link set g0 master br9 up\n"
            "ip -n guest addr add 10.9.0.2/24 dev eth0; ip -n guest link set eth0 up\n"
            "ip -n guest route add default via 10.9.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward\n"
            "ask() { ip netns exec guest python3 -c 'import urllib.request as u\n"
            'print(u.urlopen("http://203.0.113.2:8080/", timeout=2).read().decode(), end="")\'; }\n'
            "if ask 2> /dev/null; then echo reached without NAT; exit 1; fi\n"
            "iptables -t nat -A POSTROUTING -s 10.9.0.0/24 -j MASQUERADE; ask\n"
            "ip netns exec world true; test -d /proc/$LAB_WORLD_PID\n"
        )
        done = lab("plain", "--no-libvirtd", "--outside", "--", "sh", "-c", script)
        assert (done.returncode, done.stdout) == (0, "203.0.113.1\n"), done.stderr

    def test_uplink_leads_to_the_registries_only(self) -> None:
        """With --uplink apt works as on the machine; other names do not even resolve, and without it none does."""
        lists = "rm -rf /var/lib/apt/lists/* && apt-get -qq --error-on=any update"
        done = lab("plain", "--no-libvirtd", "--uplink", "--", "sh", "-c", f"{lists} && ! getent hosts lab.example")
        assert done.returncode == 0, done.stdout + done.stderr
        assert lab("plain", "--no-libvirtd", "--", "sh", "-c", lists).returncode != 0

    def test_sigkill_leaves_nothing(self) -> None:
        """SIGKILL of lab.py ends the host with all that runs on it."""
        marker = f"86{os.getpid()}"
        with owner_of("plain", "--", "sleep", marker) as owner:
            deadline = time.monotonic() + 30
            while not any(line.startswith("sleep ") for line in processes("sleep", marker)):
                assert time.monotonic() < deadline, "the plain host did not come up"
                time.sleep(0.1)
            owner.send_signal(signal.SIGKILL)
            assert gone(lambda: processes("sleep", marker))
            assert not processes("plain_host.sh", marker)

    @pytest.mark.parametrize(
        ("argv", "code", "word"),
        [
            (["plain", "--no-libvirtd", "--", "/nonesuch"], 127, "/nonesuch"),
            (["plain", "--bind-rw", "/nonesuch", "--", "true"], 125, "/nonesuch"),
            (["plain", "--no-libvirtd"], 2, "no command"),
            (["up", "--host", "a=sid", "--", "true"], 2, "sid"),
            (["up", "--host", "world=trixie", "--", "true"], 2, "world"),
            (["exec", "--lab", "nonesuch", "a", "--", "true"], 2, "nonesuch"),
        ],
    )
    def test_wrong_use(self, argv: list[str], code: int, word: str) -> None:
        """Wrong use is told in words, and by the exit code."""
        done = lab(*argv)
        assert done.returncode == code
        assert word in done.stderr


class TestRack:
    """Hosts with systemd."""

    def test_two_releases_side_by_side(self, pair: Lab) -> None:
        """Both hosts run systemd, without a failed unit, and know each other by name."""
        for name, version in (("new", "13"), ("old", "12")):
            host = pair.host(name)
            assert host.run(["systemctl", "is-system-running"]).stdout.strip() == "running"
            assert f'VERSION_ID="{version}"' in host.run(["cat", "/etc/os-release"]).stdout
            assert host.run(["virsh", "-c", "qemu:///system", "list", "--all", "--name"]).stdout.split() == []
            assert host.run(["hostname"]).stdout.strip() == name
        assert pair.host("new").run(["ping", "-c1", "-W2", "old"]).returncode == 0

    def test_reboot(self, pair: Lab) -> None:
        """A reboot gives a new boot id, empties /run, keeps the disk and what is enabled."""
        host = pair.host("new")
        before = host.boot_id()
        host.run(["sh", "-c", "touch /etc/kept /run/lost && ip link add lost0 type bridge"])
        host.reboot()
        assert host.boot_id() != before
        host.run(["sh", "-c", "test -e /etc/kept && test ! -e /run/lost && ! ip link show lost0"])
        assert host.boot_id() != Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def test_silent_power_loss(self, pair: Lab) -> None:
        """A host whose power goes is off until it is started, and then has its disk but not its memory."""
        host = pair.host("old")
        host.run(["sh", "-c", "touch /etc/kept /run/lost"])
        host.power_loss(silent=True)
        with pytest.raises(LabError, match="old is off"):
            host.run(["true"])
        assert pair.host("new").run(["ping", "-c1", "-W1", "old"], check=False).returncode != 0
        host.start()
        host.run(["sh", "-c", "test -e /etc/kept && test ! -e /run/lost"])

    @pytest.mark.parametrize("user", ["root", "admin"])
    def test_ansible_ping(self, pair: Lab, tmp_path: Path, user: str) -> None:
        """Ansible reaches both hosts over SSH with the lab's inventory, as root and as a user with sudo."""
        ansible = shutil.which("ansible", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert ansible, "ansible is not installed for this Python"
        inventory = pair.inventory(tmp_path / "inventory.json", user=user)
        argv = [ansible, "-b", "-i", str(inventory), "hypervisors", "-m", "ansible.builtin.command", "-a", "id -u"]
        done = subprocess.run(
            pair.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("rc=0 >>\n0") == 2, done.stdout

    def test_outside_sees_the_host(self, pair: Lab) -> None:
        """The outside world sees a host under its lab address."""
        code = "import urllib.request as u; print(u.urlopen('http://203.0.113.2:8080/', timeout=5).read().decode())"
        for name in ("new", "old"):
            host = pair.host(name)
            assert host.run(["python3", "-c", code]).stdout.strip() == host.address

    def test_guest_answers(self, pair: Lab, tiny: Path) -> None:
        """The tiny guest boots on a host, answers its echo, reaches the outside through NAT, and obeys the power button."""
        host = pair.host("new")
        for name in ("kernel", "initrd"):
            host.put(tiny / name, f"{FOLDER}/{name}")
        words = "lab.ip=10.9.0.2/24 lab.gw=10.9.0.1 lab.get=203.0.113.2:8080"
        host.run(
            [
                "sh",
                "-ec",
                "cat > /root/tiny.xml; ip link add br9 type bridge; ip addr add 10.9.0.1/24 dev br9\n"
                "ip link set br9 up; echo 1 > /proc/sys/net/ipv4/ip_forward\n"
                "iptables -t nat -A POSTROUTING -s 10.9.0.0/24 -j MASQUERADE\n"
                "virsh define /root/tiny.xml; virsh start tiny",
            ],
            stdin=tiny_domain("tiny", {"bridge": "br9"}, words),
        )
        wait_echo(host, "10.9.0.2")
        console = ["grep", "-q", f"LAB-GET {host.address}", "/var/log/libvirt/tiny-console.log"]
        assert gone(lambda: host.run(console, check=False).returncode, 20)
        host.run(["virsh", "shutdown", "tiny"])

        def running() -> list[str]:
            return host.run(["virsh", "list", "--name"]).stdout.split()

        assert gone(running, 20)


class TestPackages:
    """What hosts install."""

    @pytest.mark.parametrize("suite", ["trixie", "bookworm"])
    def test_apt_on_a_bare_host(self, suite: str) -> None:
        """A bare host has no libvirt, and apt-get works on it as on a machine with a mirror."""
        with Lab({"a": f"{suite}:bare"}) as one:
            host = one.host("a")
            assert host.run(["sh", "-c", "command -v virsh"], check=False).returncode != 0
            host.run(["sh", "-c", "apt-get update && apt-get install -y hello && hello"])
            said = host.run(["apt-cache", "policy"]).stdout
            assert f"n={suite}" in said
            assert "o=Debian" in said

    def test_pip_on_hosts(self, tmp_path: Path) -> None:
        """A virtual environment on a host takes its wheels from the lab, for the Python of each release."""
        requirements = tmp_path / "requirements.txt"
        requirements.write_text("markupsafe\n", encoding="ascii")
        assert lab("wheels", str(requirements)).returncode == 0
        with Lab({"new": "trixie", "old": "bookworm"}) as two:
            for name in ("new", "old"):
                script = "python3 -m venv /opt/v && /opt/v/bin/pip install -q markupsafe && /opt/v/bin/python -c 'import markupsafe'"
                two.host(name).run(["sh", "-c", script])

    def test_plain_host_of_a_rack(self) -> None:
        """A rack's host without systemd has sshd and libvirtd all the same."""
        with Lab({"a": "trixie:host:plain"}) as one:
            host = one.host("a")
            assert host.run(["cat", "/proc/1/comm"]).stdout.strip() == "sh"
            deadline = time.monotonic() + 20
            while host.run(["virsh", "-c", "qemu:///system", "list"], check=False).returncode != 0:
                assert time.monotonic() < deadline, "libvirtd does not answer"
                time.sleep(0.2)
            before = host.boot_id()
            host.reboot()
            assert host.boot_id() != before


class TestEnd:
    """How a lab ends."""

    def test_sigkill_leaves_nothing(self) -> None:
        """SIGKILL of the owner leaves no process, control group or state folder (`untouched` looks for mounts and links)."""
        name = f"kill-{os.getpid()}"
        with owner_of("up", "--lab", name, "--host", "a=trixie", "--host", "b=bookworm:bare") as owner:
            assert owner.stderr is not None
            for host in "ab":
                assert any(f"{host} is up at" in line for line in iter(owner.stderr.readline, "")), "it did not come up"
            assert f"hvlab-{name}" in groups()
            assert processes("host.sh", f"{BASE}/{name}/")
            owner.send_signal(signal.SIGKILL)
            assert gone(lambda: processes(f"/{name}")), processes(f"/{name}")
        assert gone(lambda: groups() & {f"hvlab-{name}"})
        assert gone((BASE / name).exists)
        assert not Path(f"{BASE}/{name}.failed.log").exists()

    def test_keep_and_down(self, tmp_path: Path) -> None:
        """A lab that is kept outlives the command that started it, obeys later ones, and ends with `down`."""
        name = f"keep-{os.getpid()}"
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps({"hosts": [{"name": "a", "tree": "trixie", "variant": "bare"}]}), encoding="utf-8")
        try:
            assert lab("up", "--keep", "--lab", name, "--plan", str(plan)).returncode == 0
            assert lab("up", "--keep", "--lab", name, "--plan", str(plan)).returncode == 2
            assert lab("exec", "--lab", name, "a", "--", "sh", "-c", "hostname; exit 5").returncode == 5
            done = lab("run", "--lab", name, "--", "sh", "-c", "pwd; test -e $LAB_INVENTORY", cwd=tmp_path)
            assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path)), done.stderr
        finally:
            assert lab("down", "--lab", name).returncode == 0
        assert not (BASE / name).exists()
        assert f"hvlab-{name}" not in groups()
        assert lab("down", "--lab", name).returncode == 2

    def test_command_inside(self) -> None:
        """`up -- COMMAND` gives the command's exit code and ends the lab with it."""
        name = f"with-{os.getpid()}"
        done = lab(
            "up", "--lab", name, "--host", "a=trixie:bare", "--", "sh", "-c", "ping -c1 -W2 192.168.77.11; exit 9"
        )
        assert done.returncode == 9, done.stderr
        assert not (BASE / name).exists()
        assert not processes(f"{BASE}/{name}")
