# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, network: from the declared interfaces to the files of a guest, for its network system. Pure.

The declaration is all interfaces of the guest. What it replaces is of two kinds: files of an earlier declaration, known
by their name and their first line, are removed; files of somebody else that say something different about the network
are put aside under a name that nothing reads, never overwritten or deleted.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Interface
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import (
    common,
    ifcfg,
    ifupdown,
    netplan,
    networkd,
    networkmanager,
    system,
)

CLOUD = "/etc/cloud"
CLOUD_FILE = f"{CLOUD}/cloud.cfg.d/99-hypervisor-kvm-network.cfg"
_CLOUD_TEXT = f"{common.MARK}: cloud-init must not write the network anew\nnetwork: {{config: disabled}}\n"

#: Paths whose existence matters, and folders whose names matter: to be looked at first.
LOOK: tuple[str, ...] = (*system.LOOK, CLOUD)
FOLDERS: tuple[str, ...] = tuple(
    dict.fromkeys(
        [*system.FOLDERS, *netplan.PACKAGED, ifupdown.MORE, networkd.FOLDER, networkmanager.FOLDER, ifcfg.FOLDER]
    )
)
#: Names of our files in the folders; only with our first line they are ours.
_OWN = {
    netplan.FOLDER: re.compile(re.escape(posixpath.basename(netplan.PATH))),
    networkd.FOLDER: re.compile(r"10-kvm-.+\.(?:link|network|netdev)|99-default\.link"),
    networkmanager.FOLDER: re.compile(r"kvm-.+\.nmconnection"),
    ifcfg.FOLDER: ifcfg.OWN,
}
_FOLDER_OF = {
    system.NETPLAN: netplan.FOLDER,
    system.NETWORKD: networkd.FOLDER,
    system.NETWORKMANAGER: networkmanager.FOLDER,
    system.IFCFG: ifcfg.FOLDER,
    system.IFUPDOWN: ifupdown.FOLDER,
}
_MAX_ASIDE = 100


@dataclasses.dataclass(frozen=True)
class NetworkFiles:
    """What is to be done, in this order.

    ``move``: files of somebody else to the path where they are kept, with content, mode and owner as they are. ``remove``:
    files of an earlier declaration. ``write``: path to text and mode, owned by root. ``folder``: where the network system
    reads; a guest that lacks it gets it with ``folder_mode``.
    """

    write: dict[str, tuple[str, int]]
    remove: tuple[str, ...]
    move: dict[str, str]
    folder: str
    folder_mode: int


@dataclasses.dataclass(frozen=True)
class Guest:
    """What stands in the guest: whether there is anything at a path of LOOK, the names in a folder of FOLDERS (none when
    it is not there), and the text of one of the files of ``paths`` (None when there is none)."""

    exists: t.Callable[[str], bool]
    names: t.Callable[[str], t.Sequence[str]]
    text: t.Callable[[str], str | None]


def paths(kind: str, items: t.Sequence[Interface], guest: Guest) -> list[str]:
    """The paths that must be looked at before ``plan``, of which LOOK and FOLDERS are known already (``text`` is not asked).

    Raises InvalidSpec for interfaces that the network system cannot have.
    """
    wanted = [*_texts(kind, items, False), ifupdown.INTERFACES, ifupdown.RESOLV_CONF, CLOUD_FILE]
    wanted += [f"{folder}/{name}" for folder in FOLDERS for name in _listed(folder, guest)]
    return list(dict.fromkeys(path for name in wanted for path in (name, _aside(name, guest))))


def plan(kind: str, items: t.Sequence[Interface], guest: Guest) -> NetworkFiles:
    """The files of the network system ``kind`` for these interfaces; raises InvalidSpec when it cannot have them."""
    texts = _texts(kind, items, kind == system.NETPLAN and _renderer(guest))
    resolver = ifupdown.resolv_conf(items)
    if resolver and _resolver_is_a_file(kind, texts, guest):
        texts[ifupdown.RESOLV_CONF] = resolver
    if guest.exists(CLOUD):
        texts[CLOUD_FILE] = _CLOUD_TEXT
    if kind != system.IFUPDOWN and _is_ours(guest.text(ifupdown.INTERFACES)):
        # An empty one: ifupdown may still be started and complains when there is none.
        texts[ifupdown.INTERFACES] = ifupdown.interfaces(())
    modes = {netplan.FOLDER: 0o600, networkmanager.FOLDER: networkmanager.MODE}
    aside = [*_fighting(kind, items, guest), *(path for path in texts if _is_somebodys(path, guest))]
    return NetworkFiles(
        write={path: (text, modes.get(posixpath.dirname(path), 0o644)) for path, text in texts.items()},
        remove=tuple(path for path in _former(guest) if path not in texts),
        move={path: _aside(path, guest) for path in dict.fromkeys(aside)},
        folder=_FOLDER_OF[kind],
        folder_mode=0o700 if kind == system.NETWORKMANAGER else 0o755,
    )


def _texts(kind: str, items: t.Sequence[Interface], networkmanager_renders: bool) -> dict[str, str]:
    """The files of the network system, with the one for the kernel's names."""
    if kind == system.NETPLAN:
        found = netplan.texts(items, networkmanager_renders)
    elif kind == system.NETWORKD:
        found = networkd.texts(items)
    elif kind == system.NETWORKMANAGER:
        found = networkmanager.texts(items)
    elif kind == system.IFCFG:
        found = ifcfg.texts(items)
    else:
        found = {ifupdown.INTERFACES: ifupdown.interfaces(items), **common.links(items)}
    needed = common.needs_kernel_names(items)
    if needed or (needed is None and kind == system.IFUPDOWN):
        found[common.KERNEL_NAMES] = common.KERNEL_NAMES_LINK
    return found


def _resolver_is_a_file(kind: str, texts: t.Mapping[str, str], guest: Guest) -> bool:
    """NetworkManager and the network scripts write it themselves, networkd needs systemd-resolved for it."""
    if kind == system.IFUPDOWN:
        return True
    by_networkd = kind == system.NETWORKD or (
        kind == system.NETPLAN and not netplan.says_networkmanager(texts[netplan.PATH])
    )
    return by_networkd and not system.resolved(guest.exists)


def _renderer(guest: Guest) -> bool:
    """Whether NetworkManager does the work for netplan. Ours is read as well: the file that said it may be aside."""
    folders = (netplan.FOLDER, *netplan.PACKAGED)
    files = [f"{folder}/{name}" for folder in folders for name in _listed(folder, guest)]
    return any(netplan.says_networkmanager(guest.text(path) or "") for path in files)


def _former(guest: Guest) -> list[str]:
    """Files of an earlier declaration, of whichever system."""
    found = [
        f"{folder}/{name}" for folder, own in _OWN.items() for name in _listed(folder, guest) if own.fullmatch(name)
    ]
    return [path for path in found if _is_ours(guest.text(path))]


def _fighting(kind: str, items: t.Sequence[Interface], guest: Guest) -> list[str]:
    """Files of somebody else that would be merged with ours or read in their place."""
    folder = ifupdown.MORE if kind == system.IFUPDOWN else _FOLDER_OF[kind]
    names = {item.name for item in items}
    found = []
    for name in _listed(folder, guest):
        path = f"{folder}/{name}"
        text = guest.text(path)
        if text is not None and not _is_ours(text) and _fights(kind, name, text, names):
            found.append(path)
    return found


def _fights(kind: str, name: str, text: str, names: t.Collection[str]) -> bool:
    if kind == system.NETPLAN:
        return name.endswith(".yaml") and not netplan.only_renderer(text)
    if kind == system.NETWORKD:
        return networkd.wins(name, text, names)
    if kind == system.IFCFG:
        return ifcfg.fights(name, names)
    # NetworkManager's connections have priorities instead.
    return kind == system.IFUPDOWN and ifupdown.concerns(text, names)


def _is_somebodys(path: str, guest: Guest) -> bool:
    """Whether a file that is to be written stands there with the work of somebody else in it."""
    text = guest.text(path)
    if text is None or _is_ours(text) or path in (ifupdown.RESOLV_CONF, CLOUD_FILE):
        return False
    return path != ifupdown.INTERFACES or not ifupdown.only_loopback(text)


def _is_ours(text: str | None) -> bool:
    return text is not None and text.startswith(common.MARK)


def _listed(folder: str, guest: Guest) -> list[str]:
    """The names in one of the folders of files whose text matters. What cannot be printed is no name that a program or a
    person has given to a file there."""
    names = [name for name in guest.names(folder) if name.isprintable() and "/" not in name and name not in (".", "..")]
    if folder in (netplan.FOLDER, *netplan.PACKAGED):
        return [name for name in names if name.endswith(".yaml")]
    if folder == ifupdown.MORE:
        return names
    own = _OWN.get(folder)
    more = ".network" if folder == networkd.FOLDER else None
    return [name for name in names if own is not None and (own.fullmatch(name) or (more and name.endswith(more)))]


def _aside(path: str, guest: Guest) -> str:
    """A free name by which a file is kept that is no longer to be read; each program has its own idea of what it reads."""
    folder, name = posixpath.split(path)
    if folder == ifupdown.MORE:
        # Whatever it is called, it is read in this folder.
        folder, name = ifupdown.FOLDER, f"interfaces.d-{name}"
    before, after = f"{name}.disabled", ""
    if folder == ifcfg.FOLDER:
        before = f"disabled-{name}"
    elif folder == networkmanager.FOLDER:
        # Only names of backups are passed over there.
        after = "~"
    there = set(guest.names(folder)) if folder in FOLDERS else set()
    for number in range(1, _MAX_ASIDE):
        found = before + ("" if number == 1 else f"-{number}") + after
        if found not in there:
            return f"{folder}/{found}"
    raise KvmError(f"there is no free name to keep {path} by; remove the {before} files that are no longer needed.")
