# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: what operating system and what kernels a tree of files has."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.probe import clean
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Found, Tree

# The names that distributions give their kernels in /boot; the version is what follows.
# What a boot loader loads comes before the plain program that it was made of.
_KINDS = ("vmlinuz", "bzImage", "Image", "kernel", "vmlinux")
_KERNEL = re.compile(rf"(?P<kind>{'|'.join(_KINDS)})-(?P<version>.+)")
_INITRDS = (
    "initrd.img-{}",
    "initramfs-{}.img",
    "initrd-{}",
    "initrd-{}.img",
    "initramfs-{}",
    "initramfs.img-{}",
)
_PLAIN_KERNELS = ("vmlinuz", "bzImage", "vmlinux")
_PLAIN_INITRDS = ("initrd.img", "initramfs.img", "initrd", "initramfs")
_NO_VERSION = re.compile(r"rescue|\.(old|bak|dpkg-\w+|sig|signed|asc|hmac|gz|xz|zst)$")
_MAX_KERNELS = 64
_MAX_OS_RELEASE = 64 << 10


def operating_system(tree: Tree) -> dict[str, t.Any] | None:
    """``id``, ``version`` and ``pretty_name`` from os-release(5); None when there is none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        text = tree.text(path, _MAX_OS_RELEASE)
        if text is None:
            continue
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
        values = {key.strip(): clean(_unquoted(value.strip())) for key, _sign, value in pairs}
        names = {"id": "ID", "version": "VERSION_ID", "pretty_name": "PRETTY_NAME"}
        return {name: values.get(key) for name, key in names.items()}
    return None


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text[1:-1]
    return text


def kernels(tree: Tree) -> list[dict[str, t.Any]]:
    """The kernels in ``/boot``, newest first: ``version``, ``kernel`` and ``initrd`` (paths in the image, or None).

    Only files count that are there and not empty, wherever their links lead. A kernel for rescue is none.
    """
    names = tree.names("/boot")
    there = set(names)
    found = []
    versions: dict[str, list[str]] = {}
    for name in names:
        match = _KERNEL.fullmatch(name)
        if match and not _NO_VERSION.search(name):
            versions.setdefault(match["version"], []).append(match["kind"])
    for version in sorted(versions, key=version_key, reverse=True)[:_MAX_KERNELS]:
        alike = (f"{kind}-{version}" for kind in sorted(versions[version], key=_KINDS.index))
        usable = next((name for name in alike if content(tree, f"/boot/{name}") is not None), None)
        if usable is not None:
            initrds = [name for name in (pattern.format(version) for pattern in _INITRDS) if name in there]
            found.append(_kernel(tree, version, usable, initrds))
    if found:
        return found
    plain = [name for name in _PLAIN_KERNELS if name in there and content(tree, f"/boot/{name}") is not None]
    return [_kernel(tree, "", name, [name for name in _PLAIN_INITRDS if name in there]) for name in plain]


def _kernel(tree: Tree, version: str, name: str, initrds: t.Sequence[str]) -> dict[str, t.Any]:
    usable = [path for path in (f"/boot/{initrd}" for initrd in initrds) if content(tree, path) is not None]
    return {
        "version": clean(version) or None,
        "kernel": clean(f"/boot/{name}"),
        "initrd": clean(usable[0]) if usable else None,
    }


def content(tree: Tree, path: str) -> Found | None:
    """The regular file with content at ``path``, its links followed; None when there is none."""
    found = tree.find(path)
    return found if found is not None and found.node.kind == "file" and found.node.size > 0 else None


def newest(found: t.Sequence[dict[str, t.Any]], with_initrd: bool) -> dict[str, t.Any] | None:
    """The newest kernel that has an initrd; without one only if none has and none is asked for."""
    both = [kernel for kernel in found if kernel["initrd"] is not None]
    if both or with_initrd:
        return both[0] if both else None
    return found[0] if found else None


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Orders kernel versions as people count (6.9 before 6.10, 6.1~rc1 and 6.1-rc1 before 6.1)."""
    marked = re.sub(r"~|-(?=rc[0-9])", "\x01", version)
    key = []
    for part in re.findall(r"[0-9]+|[A-Za-z]+|\x01", marked):
        if part.isdigit():
            key.append((2, int(part[:18]), ""))
        else:
            key.append((0, 0, "") if part == "\x01" else (1, 0, part))
    # The end of a version comes after a release candidate of it and before whatever continues it.
    return [*key, (0, 1, "")]
