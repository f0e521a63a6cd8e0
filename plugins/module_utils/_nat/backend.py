# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The iptables programs of the host: which there are, what they save, what they restore."""

from __future__ import annotations

import contextlib
import dataclasses

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, ToolMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.tables import Tables

NFT, LEGACY = "iptables-nft", "iptables-legacy"
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
    for name in (NFT, LEGACY):
        with contextlib.suppress(ToolMissing):
            programs[name] = (_command.find(f"{name}-save", _PACKAGE), _command.find(f"{name}-restore", _PACKAGE))
    default = _default()
    if default is not None and default not in programs:
        programs[default] = (_command.find("iptables-save", _PACKAGE), _command.find("iptables-restore", _PACKAGE))
    return Host(default or next(iter(programs), NFT), programs)


def _default() -> str | None:
    try:
        program = _command.find("iptables", _PACKAGE)
    except ToolMissing:
        return None
    version = _command.run(
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
    done = _command.run([program], timeout=_SECONDS, what="Cannot read the rules of this host")
    for line in (done.stdout + done.stderr).splitlines():
        if "is incompatible" in line:
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
    if name not in host.programs:
        return {}
    done = _command.run([host.programs[name][0]], timeout=_SECONDS, ok=())
    if done.rc != 0:
        return {}
    try:
        return tables.parse(done.stdout)
    except ValueError:
        # Only a warning hangs on it; what is written to is read by save().
        return {}


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


def restore(host: Host, name: str, table: str, payload: str) -> None:
    """Carries out the payload of one table: all of it or, with ToolError, nothing."""
    _command.run(
        restore_command(host, name), stdin=payload, timeout=_SECONDS, what=f"Cannot change the rules of table {table}"
    )
