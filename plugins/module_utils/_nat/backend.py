# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The iptables programs of the host: which there are, what they save, what they restore."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import kernel, native, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import six
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version

NFT, LEGACY = "iptables-nft", "iptables-legacy"
NFT6, LEGACY6 = six(NFT), six(LEGACY)
_PACKAGE = "iptables"
_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Host:
    """``default`` is what plain ``iptables`` is here; ``programs`` maps a backend to its (save, restore) programs."""

    default: str
    programs: dict[str, tuple[str, str]]


def probe() -> Host:
    """Which backends the host has. With none at all, the default is the one that distributions install."""
    programs: dict[str, tuple[str, str]] = {}
    for name in (NFT, LEGACY, NFT6, LEGACY6):
        with contextlib.suppress(ToolMissing):
            programs[name] = (_command.find(f"{name}-save", _PACKAGE), _command.find(f"{name}-restore", _PACKAGE))
    default = _default()
    if default is not None and default not in programs:
        programs[default] = (_command.find("iptables-save", _PACKAGE), _command.find("iptables-restore", _PACKAGE))
        with contextlib.suppress(ToolMissing):
            save6, restore6 = _command.find("ip6tables-save", _PACKAGE), _command.find("ip6tables-restore", _PACKAGE)
            programs.setdefault(six(default), (save6, restore6))
    return Host(default or next((name for name in (NFT, LEGACY) if name in programs), NFT), programs)


def _default() -> str | None:
    try:
        program = _command.find("iptables", _PACKAGE)
    except ToolMissing:
        return None
    # Its file mostly tells by its name, which saves a program.
    name = os.path.basename(os.path.realpath(program))
    if name.startswith("xtables-"):
        for kind, word in ((NFT, "nft"), (LEGACY, "legacy")):
            if f"-{word}-" in name:
                return kind
    version = _command.ask(
        [program, "--version"], timeout=_SECONDS, what="Cannot tell which kind of iptables this is"
    ).stdout
    # Before there were two kinds, it did not say which it is.
    return NFT if "nf_tables" in version else LEGACY


def save(host: Host, name: str) -> Tables:
    """All rules of a backend in one read; none when its programs are not installed.

    Raises KvmError when the answer cannot be relied on: what is not shown there would be added a second time.
    """
    if name not in host.programs:
        return {}
    program = host.programs[name][0]
    done = _command.ask([program], timeout=_SECONDS, what="Cannot read the rules of this host")
    for text in (done.stdout, done.stderr):
        if "is incompatible" in text:
            line = next(line for line in text.splitlines() if "is incompatible" in line)
            raise KvmError(
                f"{program} cannot show all rules of this host ({line.lstrip('# ').strip()}): rules made with nft itself are in"
                " a table that iptables uses; move them to a table of their own, then run this again.",
                stderr=done.stderr_tail,
            )
    try:
        return tables.parse(done.stdout)
    except ValueError as exc:
        raise KvmError(f"{program} gave an answer that cannot be relied on: {exc}; nothing was changed.") from exc


def in_use(host: Host, name: str) -> Tables:
    """The rules of the backend that is not the chosen one; none when it has none or its part of the kernel is missing."""
    try:
        return save(host, name)
    except KvmError:
        # Only a warning hangs on it.
        return {}


def foreign() -> native.Ruleset:
    """What others made with nft itself and guests have to pass; nothing when nft cannot say."""
    known = kernel.base_chains()
    if known is not None and all(native.of_iptables(chain.family, chain.name) for chain in known):
        return native.Ruleset()
    try:
        program = _command.find("nft", "nftables")
    except ToolMissing:
        return native.Ruleset()
    # Chains only: all rules of a host can take a second.
    chains = native.base_chains(_listing(program, "chains"))
    places = sorted({(chain.family, chain.table) for chain in chains})
    return native.ruleset(chains, (_listing(program, "table", *place) for place in places))


def _listing(program: str, *what: str) -> dict[str, t.Any]:
    # Only a warning hangs on it, or an advice.
    done = _command.ask([program, "-j", "list", *what], timeout=_SECONDS, ok=())
    with contextlib.suppress(ValueError):
        answer = json.loads(done.stdout) if done.rc == 0 else {}
        return answer if isinstance(answer, dict) else {}
    return {}


def conntrack() -> str:
    """The program that makes the kernel forget connections; raises ToolMissing when it is not installed."""
    try:
        return _command.find("conntrack", "conntrack")
    except ToolMissing as exc:
        raise ToolMissing(
            "The program conntrack is missing on this hypervisor: install the package conntrack (conntrack-tools on Red Hat's family),"
            " or leave flush_conntrack out.",
            **exc.details,
            rolled_back=True,
        ) from exc


def forget(subnets: t.Sequence[str]) -> None:
    """Makes the kernel forget the connections that guests of these subnets have or that lead to them."""
    for number in (4, 6):
        some = of_version(subnets, number)
        if some:
            _forget(number, some)


def _forget(number: int, subnets: t.Sequence[str]) -> None:
    program = [conntrack(), "-f", f"ipv{number}"]
    what = "Cannot end connections"
    # Those to a port that is forwarded name the guest in their answers only, where no network can be asked for.
    listed = _command.run([*program, "-L", "--dst-nat"], timeout=_SECONDS, what=what).stdout
    networks = [ipaddress.ip_network(subnet) for subnet in subnets]
    answering = {ipaddress.ip_address(found) for found in re.findall(r" src=\S+ .* src=([0-9a-f.:]+) ", listed)}
    guests = sorted(str(guest) for guest in answering if any(guest in network for network in networks))
    sides = [(side, subnet) for subnet in subnets for side in ("--src", "--dst")]
    for side, where in (*sides, *(("--reply-src", guest) for guest in guests)):
        # It ends with 1 when there is none.
        _command.run([*program, "-D", side, where], timeout=_SECONDS, ok=(0, 1), what=what)


def restore_command(host: Host, name: str) -> list[str]:
    """The program that carries out a payload; raises ToolMissing when it is not installed."""
    if name not in host.programs:
        raise ToolMissing(
            f"The programs of the backend {name} are missing on this hypervisor: install the package {_PACKAGE}"
            " (the role hypervisor.kvm.kvm_host does) or choose another backend.",
            missing_program=f"{name}-restore",
            missing_package=_PACKAGE,
            rolled_back=True,
        )
    return [host.programs[name][1], "-w", "10", "--noflush"]


def restore(host: Host, name: str, payload: str, lock: int) -> None:
    """Carries out the payload of some tables: all of a table or, with ToolError, nothing of it and those after it.

    The program holds the ``lock`` as well: nobody else writes before it is done, also when this module is killed.
    """
    _command.ask(
        restore_command(host, name), stdin=payload, timeout=_SECONDS, pass_fds=[lock], what="Cannot change the rules"
    )
