# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what is returned of a domain, the same by every module that returns one. Pure."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import table as tables
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests import view
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_NAMES = ("title", "description", "type", "os.machine", "memory", "current_memory", "vcpus")
#: Not all that has an option: for very many domains that would take long.
_SCALARS = tables.Table(BY_NAME[name] for name in _NAMES)
_DEVICES = {
    option: tables.Table(leaf for leaf in BY_OPTION[option].leaves if not leaf.secret)
    for option in ("disks", "interfaces")
}
#: VNC counts its displays from this port.
_VNC = 5900


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a domain beside its document; ``by_mac`` has the addresses that its interfaces were found at."""

    name: str
    uuid: str | None
    state: str
    reason: str
    autostart: bool
    persistent: bool
    by_mac: t.Mapping[str, t.Sequence[str]] = dataclasses.field(default_factory=dict)


def facts(known: Known, document: str) -> dict[str, t.Any]:
    """The return value for one domain; ``document`` is of what runs, else the definition."""
    said = read(document)
    interfaces = [
        {**interface, "addresses": list(known.by_mac.get(str(interface.get("mac", "")).lower(), ()))}
        for interface in said["interfaces"]
    ]
    return {
        "name": known.name,
        "uuid": known.uuid,
        "state": known.state,
        "reason": known.reason,
        "autostart": known.autostart,
        "persistent": known.persistent,
        **said,
        "addresses": list(dict.fromkeys(address for interface in interfaces for address in interface["addresses"])),
        "disks": [dict(disk) for disk in said["disks"]],
        "interfaces": interfaces,
    }


@functools.lru_cache(maxsize=4096)
def read(document: str) -> dict[str, t.Any]:
    """What of it is in the document. It may be asked for ahead of its time: nobody may change it."""
    root = _xml.parse(document, "the domain's document")
    scalars = tables.read(_SCALARS, root)
    return {
        **{name.rpartition(".")[2]: scalars.get(name) for name in _NAMES},
        "agent_connected": view.agent(root) == "connected",
        "graphics": displays(root),
        "console_log": view.console(root)[0],
        "disks": _devices(root, "disks"),
        "interfaces": _devices(root, "interfaces"),
    }


def _devices(root: Element, option: str) -> list[dict[str, t.Any]]:
    return [tables.nested(tables.read(_DEVICES[option], node)) for node in BY_OPTION[option].find(root)]


def displays(root: Element) -> list[dict[str, t.Any]]:
    """Where the displays are: of a running document with the ports that they have got. ``display`` is a VNC display as
    viewers take it (127.0.0.1:0)."""
    found: list[dict[str, t.Any]] = []
    for node in root.findall("devices/graphics"):
        listen = node.get("listen") or _xml.find_attribute(node, "listen", "address")
        port = _port(node, "port")
        place = f"[{listen}]" if listen and ":" in listen else listen or ""
        found.append(
            {
                "type": node.get("type"),
                "listen": listen,
                "port": port,
                "tls_port": _port(node, "tlsPort"),
                "websocket": _port(node, "websocket"),
                "socket": node.get("socket") or _xml.find_attribute(node, "listen", "socket"),
                "display": f"{place}:{port - _VNC}" if node.get("type") == "vnc" and port is not None else None,
            }
        )
    return found


def _port(node: Element, name: str) -> int | None:
    """A port that was given out or stated; -1 is one that is still to be chosen."""
    port = int(node.get(name) or -1)
    return port if port > 0 else None


def backing_chains(root: Element) -> dict[str, list[str]]:
    """What is behind the disks of a running domain, nearest first, by target; only of disks of which the document says it."""
    found: dict[str, list[str]] = {}
    for node in root.findall("devices/disk"):
        target = _xml.find_attribute(node, "target", "dev")
        step = node.find("backingStore")
        if target is None or step is None:
            continue
        found[target] = chain = []
        # An empty element is the end of the chain.
        while step is not None and step.find("source") is not None:
            source = step.find("source")
            values: t.Mapping[str, t.Any] = dict(source.attrib) if source is not None else {}
            chain.append(
                next((str(values[key]) for key in ("file", "dev", "dir", "name", "volume") if key in values), "?")
            )
            step = step.find("backingStore")
    return found
