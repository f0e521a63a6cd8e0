# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what an image is made of, as typed, validated specifications. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import customize
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import check_path

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """An operating system from its distribution's archive. ``suite`` None = that of the hypervisor."""

    suite: str | None = None
    variant: str = "minbase"
    packages: tuple[str, ...] = ()
    components: tuple[str, ...] | None = None
    mirrors: tuple[str, ...] | None = None
    kernel_package: str | None = None
    apt_options: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class BaseImage:
    """Another image as the source. ``format`` is that of ``path``: stated, else by its record, else raw (None); it is never
    guessed from what a guest wrote."""

    path: str
    mode: str = "overlay"
    format: str | None = None


def parse_bootstrap(path: str, value: dict[str, t.Any] | None) -> Bootstrap | None:
    """The option ``source.bootstrap`` of the image ``path``; raises InvalidSpec."""
    if value is None:
        return None
    for word in [value.get("suite"), value.get("kernel_package"), *(value.get("components") or ())]:
        if word is not None and not _WORD.fullmatch(word):
            raise InvalidSpec(
                f"image {path}: '{word}' in source.bootstrap is no name of a suite, component or package."
            )
    for mirror in value.get("mirrors") or ():
        if "\n" in mirror or not re.match(r"(deb\s|[a-z+]+:)", mirror):
            raise InvalidSpec(f"image {path}: mirror '{mirror}' is neither a URI nor a line that starts with 'deb '.")
    for option in value.get("apt_options") or ():
        if "\n" in option:
            raise InvalidSpec(f"image {path}: an entry of apt_options has more than one line; write one entry each.")
    return Bootstrap(
        suite=value.get("suite"),
        variant=value.get("variant") or "minbase",
        packages=customize.packages(path, value.get("packages")),
        components=tuple(value["components"]) if value.get("components") else None,
        mirrors=tuple(value["mirrors"]) if value.get("mirrors") else None,
        kernel_package=value.get("kernel_package"),
        apt_options=tuple(value.get("apt_options") or ()),
    )


def parse_base(path: str, value: dict[str, t.Any] | None, mode: str) -> BaseImage | None:
    """The option ``source.image`` of the image ``path``, ``mode`` is meant when none is stated; raises InvalidSpec."""
    if value is None:
        return None
    if not value.get("path"):
        raise InvalidSpec(f"image {path}: source.image needs the path of the base image.")
    base = t.cast("str", check_path(path, value["path"], "source.image.path"))
    if base == path:
        raise InvalidSpec(
            f"image {path}: it cannot be its own base image; leave out source to change the image that is there."
        )
    return BaseImage(base, value.get("mode") or mode, value.get("format"))
