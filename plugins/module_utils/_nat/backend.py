# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The programs of the host, of iptables and nft: which there are, what they save, what they restore."""

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
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import dialect, kernel, native, saved, tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.dialect import FAMILIES, NFTABLES, NFTABLES6
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.record import six, version
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.saved import Saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.values import of_version

NFT, LEGACY = "iptables-nft", "iptables-legacy"
NFT6, LEGACY6 = six(NFT), six(LEGACY)
_PACKAGE = "iptables"
#: The tables that iptables has.
_IPTABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
_SECONDS = 60
#: Where systemd has what starts with the host.
_STARTED = tuple(f"/etc/systemd/system/{target}.target.wants" for target in ("sysinit", "multi-user"))
_READING = "Cannot read the rules of this host"


#: Programs that are asked for all rules of a backend, by backend.
Answers = dict[str, _command.Asked]


@dataclasses.dataclass(frozen=True)
class Host:
    """``default`` is what plain ``iptables`` is here; ``programs`` maps a backend to its (save, restore) programs, which are
    one program for nft."""

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
    with contextlib.suppress(ToolMissing):
        nft = _command.find("nft", package(NFTABLES))
        programs.update({NFTABLES: (nft, nft), NFTABLES6: (nft, nft)})
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


def ask_legacy() -> dict[str, _command.Asked]:
    """Begins to read all rules of iptables-legacy, by backend: of the versions of IP of which the kernel has any, where the program
    is known by its name."""
    asked: dict[str, _command.Asked] = {}
    for name in (LEGACY, LEGACY6):
        # What is not asked here is asked in its turn.
        with contextlib.suppress(ToolMissing):
            if legacy_tables(version(name)):
                asked[name] = _command.Asked([_command.find(f"{name}-save", _PACKAGE)])
    return asked


def save(host: Host, name: str, asked: Answers) -> Tables:
    """All rules of a backend in one read; none when its programs are not installed. ``asked`` is what was asked already.

    Raises KvmError when the answer cannot be relied on: what is not shown there would be added a second time.
    """
    return saves(host, [name], asked)[name]


def saves(host: Host, names: t.Iterable[str], asked: Answers | None = None) -> dict[str, Tables]:
    """The same of several backends, whose programs run beside each other; those that had to be ``asked`` are there then, too."""
    names, known = list(names), asked or {}
    asking = {
        name: known[name] if name in known else _command.Asked(_reading(host.programs[name][0], name))
        for name in names
        if name in host.programs and not _is_empty(name)
    }
    if asked is not None:
        asked.update(asking)
    return {name: _rules(name, asking[name]) if name in asking else {} for name in names}


def _reading(program: str, name: str) -> list[str]:
    if name in FAMILIES:
        return [program, "-s", "list", "table", FAMILIES[name], dialect.TABLE]
    return [program]


def answer(asked: _command.Asked) -> str:
    """All rules of a backend of iptables, as its program saves them; raises KvmError."""
    return asked.answer(timeout=_SECONDS, what=_READING).stdout


def closed(asked: Answers) -> dict[str, frozenset[str]]:
    """By backend of iptables, the chains of table filter with the policy DROP."""
    return {name: saved.closed(answer(one)) for name, one in asked.items() if name not in FAMILIES}


def _rules(name: str, asked: _command.Asked) -> Tables:
    if name in FAMILIES:
        return _own(name, asked)
    done = asked.answer(timeout=_SECONDS, what=_READING)
    program = done.argv[0]
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


def _is_empty(name: str) -> bool:
    """Whether the kernel says by itself that it has no table of a backend: then there is nothing to read."""
    if name in (LEGACY, LEGACY6):
        return not legacy_tables(version(name))
    known = kernel.tables()
    if known is None:
        return False
    if name in FAMILIES:
        return (FAMILIES[name], dialect.TABLE) not in known
    family = "ip" if version(name) == 4 else "ip6"
    return not any(one == family and table in _IPTABLES for one, table in known)


def _own(name: str, asked: _command.Asked) -> Tables:
    try:
        return dialect.read(_table(asked), FAMILIES[name])
    except ValueError as exc:
        raise KvmError(
            f"{exc}; nothing was changed. Remove that table (nft delete table {FAMILIES[name]} {dialect.TABLE}), then run this again."
        ) from exc


def _table(asked: _command.Asked) -> str:
    """Our table as nft lists it; empty when there is none."""
    done = asked.answer(timeout=_SECONDS, what=_READING, ok=(0, 1))
    if done.rc == 1:
        if "No such file or directory" not in done.stderr:
            raise KvmError(
                f"{_READING}: {(done.stderr.strip() or 'nft failed').splitlines()[0]}", stderr=done.stderr_tail
            )
        return ""
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Rules:
    """All rules of a host for one version of IP: by backend, and why those of a backend are not all of them."""

    saved: dict[str, Saved]
    problems: dict[str, str]


def rules(host: Host, number: int, asked: Answers | None = None) -> Rules:
    """What the host's programs say of one version of IP, with policies and counters; without these, where it was ``asked`` already,
    all of it. A backend that cannot be read is a problem, not an end."""
    found: dict[str, Saved] = {}
    problems: dict[str, str] = {}
    for name, (program, _restore) in host.programs.items():
        # Without any legacy tables in the kernel there is nothing to read.
        if version(name) != number or (name in (LEGACY, LEGACY6) and not legacy_tables(number)):
            continue
        try:
            found[name] = _saved(program, name, problems, asked)
        except KvmError as exc:
            problems[name] = exc.message
        except ValueError as exc:
            problems[name] = f"{program} gave an answer that cannot be relied on: {exc}"
    return Rules(found, problems)


def policies(host: Host, number: int, asked: Answers) -> dict[str, Saved]:
    """The rules of iptables for one version of IP with their policies, by backend: of those that packets pass."""
    family = "ip" if number == 4 else "ip6"
    known = kernel.base_chains()
    if known is None or any(chain[:2] == (family, "filter") for chain in known):
        names = {name for name in host.programs if name not in FAMILIES}
    else:
        names = {LEGACY, LEGACY6} & set(host.programs)
    some = dataclasses.replace(host, programs={name: host.programs[name] for name in names})
    return rules(some, number, asked).saved


def _saved(program: str, name: str, problems: dict[str, str], asked: Answers | None) -> Saved:
    if name in FAMILIES:
        listing = [program, "list", "table", FAMILIES[name], dialect.TABLE]
        return saved.of_nft(_table(_command.Asked(listing)), FAMILIES[name])
    if asked is None:
        done = _command.ask([program, "-c"], timeout=_SECONDS, what=_READING)
    else:
        done = (asked.get(name) or _command.Asked([program])).answer(timeout=_SECONDS, what=_READING)
    said = next((line for line in (done.stdout + done.stderr).splitlines() if "is incompatible" in line), None)
    if said is not None:
        problems[name] = said.lstrip("# ").strip()
    return saved.parse(done.stdout) if asked is None else saved.uncounted(done.stdout)


def legacy_tables(number: int) -> bool:
    """Whether the kernel has tables of iptables-legacy loaded for a version of IP."""
    try:
        with open(f"/proc/net/{'ip' if number == 4 else 'ip6'}_tables_names", encoding="utf-8") as file:
            return bool(file.read().strip())
    except FileNotFoundError:
        return False


def in_use(host: Host, name: str, asked: Answers) -> Tables:
    """The rules of the backend that is not the chosen one; none when it has none or its part of the kernel is missing."""
    try:
        return save(host, name, asked)
    except KvmError:
        # Only a warning hangs on it.
        return {}


def uses_nft(host: Host) -> bool:
    """Whether the host has rules of nft, or loads some when it starts."""
    return NFTABLES in host.programs and (
        bool(kernel.base_chains()) or any(os.path.lexists(f"{folder}/nftables.service") for folder in _STARTED)
    )


def foreign(hooks: t.Container[str] = native.HOOKS) -> native.Ruleset:
    """What others made with nft itself and guests have to pass; nothing when nft cannot say."""
    known = kernel.base_chains()
    if known is not None and all(native.is_known(*chain) for chain in known):
        return native.Ruleset()
    try:
        program = _command.find("nft", package(NFTABLES))
    except ToolMissing:
        return native.Ruleset()
    # Chains only: all rules of a host can take a second.
    chains = native.base_chains(_listing(program, "chains"), hooks)
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


def package(name: str) -> str:
    """The package that has the programs of a backend."""
    return "nftables" if name in FAMILIES else _PACKAGE


def restore_command(host: Host, name: str) -> list[str]:
    """The program that carries out a payload; raises ToolMissing when it is not installed."""
    if name not in host.programs:
        ours = name in FAMILIES
        raise ToolMissing(
            f"The programs of the backend {name} are missing on this hypervisor: install the package {package(name)}"
            f"{'' if ours else ' (the role hypervisor.kvm.kvm_host does)'} or choose another backend.",
            missing_program="nft" if ours else f"{name}-restore",
            missing_package=package(name),
            rolled_back=True,
        )
    if name in FAMILIES:
        return [host.programs[name][1], "-f", "-"]
    return [host.programs[name][1], "-w", "10", "--noflush"]


def restore(host: Host, name: str, payload: str, lock: int) -> None:
    """Carries out the payload of some tables: all of a table or, with ToolError, nothing of it and those after it.

    The program holds the ``lock`` as well: nobody else writes before it is done, also when this module is killed.
    """
    _command.ask(
        restore_command(host, name), stdin=payload, timeout=_SECONDS, pass_fds=[lock], what="Cannot change the rules"
    )
