# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a lab (which hosts, from which tree) and the files that each host gets before its first boot."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_archive import SUITES, current_archive
from lab_cache import cache_folder, run_tool
from lab_errors import LabError
from lab_tree import VARIANTS, build_tree

NETWORK = "192.168.77"
PACKAGES_URL = f"http://{NETWORK}.1:8080"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}\Z")
_KNOWN = {"name", "tree", "variant", "plain"}


@dataclass(frozen=True)
class HostPlan:
    """One host of a plan: ``tree`` is a suite, ``plain`` means without systemd."""

    name: str
    tree: str = "trixie"
    variant: str = "host"
    plain: bool = False


def parse_host(text: str) -> HostPlan:
    """Read ``NAME[=SUITE[:VARIANT[:plain]]]``, the form of the command line."""
    name, _equals, rest = text.partition("=")
    words = [word for word in rest.split(":") if word]
    plain = "plain" in words
    words = [word for word in words if word != "plain"]
    if len(words) > 2:
        raise LabError(f"host {text!r}: write NAME=SUITE, NAME=SUITE:VARIANT or NAME=SUITE:VARIANT:plain")
    tree, variant = [*words, *("trixie", "host")[len(words) :]]
    return HostPlan(name, tree, variant, plain)


def parse_plan(path: Path) -> list[HostPlan]:
    """Read the hosts of a plan file (JSON: ``{"hosts": [{"name", "tree", "variant", "plain"}]}``)."""
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["hosts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"the plan {path} is no JSON file with a list 'hosts': {error}") from error
    for entry in entries:
        if not isinstance(entry, dict) or "name" not in entry or set(entry) - _KNOWN:
            raise LabError(f"the plan {path}: a host has a name and may have tree, variant and plain, not {entry!r}")
    return [HostPlan(**entry) for entry in entries]


def check_hosts(hosts: Sequence[HostPlan]) -> None:
    """Raise LabError unless the hosts can stand side by side."""
    names = [host.name for host in hosts]
    if not hosts or len(hosts) > 200:
        raise LabError("a lab has between 1 and 200 hosts")
    for host in hosts:
        if not _NAME.match(host.name) or host.name == "world":
            raise LabError(f"{host.name!r} is no name for a lab host: a-z, 0-9 and '-', at most 15, not 'world'")
        if host.tree not in SUITES or host.variant not in VARIANTS:
            raise LabError(
                f"host {host.name}: no tree {host.tree}:{host.variant}; there are {', '.join(SUITES)}"
                f" in the variants {', '.join(VARIANTS)}"
            )
        if names.count(host.name) > 1:
            raise LabError(f"two hosts of the lab are called {host.name}")


def address_of(index: int) -> str:
    """Return the management address of the host with this index (from 1)."""
    return f"{NETWORK}.{10 + index}"


def make_key(path: Path, comment: str) -> str:
    """Make an ssh key pair and return the public line."""
    run_tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], "an ssh key for the lab")
    return path.with_name(path.name + ".pub").read_text(encoding="ascii").strip()


def prepare(hosts: Sequence[HostPlan]) -> None:
    """Check the plan and build what it needs (archives, trees) where the cache has none: minutes, once a week."""
    check_hosts(hosts)
    for suite in SUITES:
        current_archive(suite)
    for host in hosts:
        build_tree(host.tree, host.variant)


def write_plan(state: Path, hosts: Sequence[HostPlan], keep: bool) -> None:
    """Write plan, keys and per-host files into the lab's state folder."""
    served: dict[str, str] = {}
    for suite in SUITES:  # each host may build guests of any suite
        archive = current_archive(suite)
        served[f"debian/dists/{suite}"] = str(archive / "dists" / suite)
        served[f"debian/pool-{suite}"] = str(archive / f"pool-{suite}")
    wheels = cache_folder() / "wheels"
    wheels.mkdir(exist_ok=True)
    served["wheels"] = str(wheels)
    entries = [
        {
            "name": host.name,
            "index": index,
            "tree_folder": str(build_tree(host.tree, host.variant)),
            "tree": host.tree,
            "plain": host.plain,
        }
        for index, host in enumerate(hosts, 1)
    ]
    (state / "ssh").mkdir(mode=0o700)
    public = make_key(state / "ssh" / "id_ed25519", "lab")
    known: list[str] = []
    for index, host in enumerate(hosts, 1):
        key = state / "ssh" / f"host-{host.name}"
        names = f"{host.name},{address_of(index)}"
        known.append(f"{names} {make_key(key, host.name).rsplit(' ', 1)[0]}")
    (state / "ssh" / "known_hosts").write_text("\n".join(known) + "\n", encoding="ascii")
    for host in hosts:
        _write_seed(state, host, hosts, public)
    plan = {"hosts": entries, "served": served, "keep": keep}
    (state / "plan.json").write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def _write_seed(state: Path, host: HostPlan, hosts: Sequence[HostPlan], public: str) -> None:
    """Write the files that make a host of the shared tree this host, below ``seed/NAME``."""
    private = (state / "ssh" / "id_ed25519").read_text(encoding="ascii")
    known = (state / "ssh" / "known_hosts").read_text(encoding="ascii")
    # The own name must not be a loopback address: libvirt refuses to migrate to such a host.
    names = "".join(f"{address_of(index)} {other.name}\n" for index, other in enumerate(hosts, 1))
    sources = f"Types: deb\nURIs: {PACKAGES_URL}/debian\nSuites: {host.tree}\nComponents: main\nTrusted: yes\n"
    pip = f"[global]\nno-index = true\nfind-links = {PACKAGES_URL}/wheels/\ntrusted-host = {NETWORK}.1\n"
    files: dict[str, str] = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{names}",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/apt/sources.list.d/debian.sources": sources,
        "etc/pip.conf": pip,
        "etc/ssh/ssh_host_ed25519_key": (state / "ssh" / f"host-{host.name}").read_text(encoding="ascii"),
        "etc/ssh/ssh_host_ed25519_key.pub": (state / "ssh" / f"host-{host.name}.pub").read_text(encoding="ascii"),
        "root/.ssh/authorized_keys": f"{public}\n",
        "root/.ssh/id_ed25519": private,
        "root/.ssh/known_hosts": known,
        "home/admin/.ssh/authorized_keys": f"{public}\n",
    }
    for name, text in files.items():
        path = state / "seed" / host.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600 if name.endswith(("_key", "id_ed25519", "authorized_keys")) else 0o644)
        if path.parent.name == ".ssh":
            path.parent.chmod(0o700)


def inventory(state: Path, hosts: Sequence[HostPlan], user: str) -> dict[str, Any]:
    """Return an Ansible inventory of the lab's hosts as data; all of them are in the group ``hypervisors``."""
    options = (
        f"-o UserKnownHostsFile={state}/ssh/known_hosts -o StrictHostKeyChecking=yes"
        # Without these a task on a host that lost its power hangs for good on the shared connection.
        " -o ServerAliveInterval=2 -o ServerAliveCountMax=2 -o ConnectTimeout=10"
    )
    common = {
        "ansible_user": user,
        "ansible_ssh_private_key_file": f"{state}/ssh/id_ed25519",
        "ansible_ssh_common_args": options,
        "ansible_control_path_dir": f"{state}/cp",  # its own: every lab uses the same addresses
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    entries = {host.name: {"ansible_host": address_of(index)} for index, host in enumerate(hosts, 1)}
    return {"all": {"children": {"hypervisors": {"hosts": entries, "vars": common}}}}
