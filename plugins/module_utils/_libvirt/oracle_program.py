# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What the oracle's process does: libvirt's own qemu driver inside of it, on a folder of its own. Never in the module's process.

A process that has once opened this driver can open no connection to the daemon any more, and only one folder.
"""

from __future__ import annotations

import json
import os
import sys
import typing as t

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before this is started.
    libvirt = None

#: The folders below the root, and those of the daemon, which are what a definition says.
_FOLDERS = {
    "lib/qemu": "/var/lib/libvirt/qemu",
    "lib/swtpm": "/var/lib/libvirt/swtpm",
    "run/qemu": "/run/libvirt/qemu",
    "cache/qemu": "/var/cache/libvirt/qemu",
    "log/qemu": "/var/log/libvirt/qemu",
}


def inside(root: str, text: str) -> str:
    """What names the daemon's folders, as it would name those of this driver, which drops what it has made up itself."""
    for own, daemons in _FOLDERS.items():
        text = text.replace(daemons, f"{root}/{own}")
    return text


def outside(root: str, text: str) -> str:
    """The same back."""
    for own, daemons in _FOLDERS.items():
        text = text.replace(f"{root}/{own}", daemons)
    return text


def _refusal(root: str, exc: t.Any) -> dict[str, t.Any]:
    return {"error": outside(root, exc.get_error_message() or str(exc)), "code": exc.get_error_code() or 0}


def normal(connection: t.Any, root: str, document: str) -> dict[str, t.Any]:
    """The document as libvirt would keep it, or libvirt's error."""
    try:
        domain = connection.defineXML(inside(root, document))
    except libvirt.libvirtError as exc:
        return _refusal(root, exc)
    try:
        text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE)
    finally:
        # The files that a definition names are those of the real domain: they stay.
        flags = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | getattr(libvirt, "VIR_DOMAIN_UNDEFINE_KEEP_TPM", 0)
        domain.undefineFlags(flags)
    return {"document": outside(root, text)}


def objection(connection: t.Any, root: str, document: str) -> dict[str, t.Any]:
    """What libvirt's schema has against a document that it would define; nothing when it has nothing."""
    flags = getattr(libvirt, "VIR_DOMAIN_DEFINE_VALIDATE", 1)
    try:
        domain = connection.defineXMLFlags(inside(root, document), flags)
    except libvirt.libvirtError as exc:
        return _refusal(root, exc)
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | getattr(libvirt, "VIR_DOMAIN_UNDEFINE_KEEP_TPM", 0))
    return {}


def _say(answer: dict[str, t.Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answers each line (a question as JSON) with a line; the first line says whether the driver works."""
    root = sys.argv[1]
    os.umask(0o022)
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    # The driver asks for it, though nothing here waits for an event.
    libvirt.virEventRegisterDefaultImpl()
    try:
        connection = libvirt.open(f"qemu:///embed?root={root}")
    except libvirt.libvirtError as exc:
        _say({"error": exc.get_error_message() or str(exc)})
        return
    _say({})
    for line in sys.stdin:
        question = json.loads(line)
        if question.get("validate"):
            _say(objection(connection, root, question["document"]))
        else:
            _say(normal(connection, root, question["document"]))
    connection.close()
