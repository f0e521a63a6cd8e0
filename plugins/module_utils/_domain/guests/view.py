# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what has to be known of a running domain to find, to hear and to ask its guest, from its document. Pure."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.character import AGENT

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


@dataclasses.dataclass(frozen=True)
class View:
    """``agent``: the state of its channel (None: it has none; ``unknown`` where libvirt does not say). ``console`` is the
    file that the first logged port writes to, ``appends`` whether it keeps what earlier runs wrote; ``pty`` whether a
    port can be listened to. ``labels`` are those of SELinux."""

    id: str | None = None
    uuid: str = ""
    macs: frozenset[str] = frozenset()
    agent: str | None = None
    console: str | None = None
    appends: bool = False
    pty: bool = False
    labels: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=4096)
def view(document: str | None) -> View:
    """What a document says; an empty view of none."""
    return View() if document is None else look(_xml.parse(document, "the domain's document"))


def look(root: Element) -> View:
    """The same of one that is read already."""
    path, appends = console(root)
    ports = [node.get("type") for tag in ("console", "serial") for node in root.findall(f"devices/{tag}")]
    labels = [label for node in root.findall("seclabel") for label in [_xml.find_text(node, "label")] if label]
    macs = (_xml.find_attribute(node, "mac", "address") for node in root.findall("devices/interface"))
    return View(
        id=root.get("id"),
        uuid=_xml.find_text(root, "uuid") or "",
        macs=frozenset(mac.lower() for mac in macs if mac),
        agent=agent(root),
        console=path,
        appends=appends,
        pty="pty" in ports,
        labels=frozenset(labels),
    )


def agent(root: Element) -> str | None:
    """The state of the agent's channel; None when there is none."""
    for node in root.findall("devices/channel/target"):
        if node.get("name") == AGENT and node.get("type") == "virtio":
            return node.get("state") or "unknown"
    return None


def console(root: Element) -> tuple[str | None, bool]:
    """The log of the first serial port or console that has one, else the file that it is; and whether that is kept."""
    for tag in ("serial", "console"):
        for node in root.findall(f"devices/{tag}"):
            for place, key in (("log", "file"), ("source", "path")):
                found = node.find(place)
                path = found.get(key) if found is not None else None
                if found is not None and path and (place == "log" or node.get("type") == "file"):
                    return path, found.get("append") == "on"
    return None, False
