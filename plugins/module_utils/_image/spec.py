# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import customize
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Customize
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.filesystem import (
    Filesystem,
    Mount,
    check_size,
    parse_filesystem,
    parse_fstab,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.paths import check_partition, check_path
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.sources import (
    BaseImage,
    Bootstrap,
    parse_base,
    parse_bootstrap,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

SECTOR = 512
DEFAULT_SIZE = 2 << 30
DEFAULT_TIMEOUT = 1800

NOTHING = Customize()


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """An image. ``size`` is in bytes, ``timeout`` in seconds.

    Without a source the image is one that exists already, and is changed in place. ``partition`` (a number or ``root``)
    is what is taken out of a base image, and in place the partition that is meant.
    """

    path: str
    state: str = "present"
    #: None = as it is, or as the source suggests.
    format: str | None = None
    size: int | None = None
    bootstrap: Bootstrap | None = None
    base: BaseImage | None = None
    blank: bool = False
    partition: int | str | None = None
    filesystem: Filesystem | None = None
    #: The lines of fstab, ``rewrite``, or None to leave it.
    fstab: tuple[Mount, ...] | str | None = None
    kernel: str | None = None
    initrd: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: str | None = None
    customize: Customize = NOTHING
    #: Whether ``customize`` is stated at all: then a disk from a base becomes a guest of its own.
    individual: bool = False
    sparsify: bool = False
    #: zstd, zlib, or none; None = not stated.
    compress: str | None = None
    shrink: bool = False
    #: trusted or untrusted; None = as where it comes from.
    trust: str | None = None
    rebuild: str = "never"
    timeout: int = DEFAULT_TIMEOUT
    keep_failed: bool = False

    @property
    def in_place(self) -> bool:
        """Whether it is an image that exists already and has no source here."""
        return self.state == "present" and self.bootstrap is None and self.base is None and not self.blank

    @property
    def is_overlay(self) -> bool:
        """Whether it is to stand on its base."""
        return self.base is not None and self.base.mode == "overlay"


_COMPRESS = {None: None, "yes": "zstd", "no": "none", "zstd": "zstd", "zlib": "zlib"}


def parse(params: dict[str, t.Any]) -> ImageSpec:
    """The options of one image to its specification; raises InvalidSpec with a sentence that names the image."""
    path = params["path"]
    check_path(path, path, "path")
    state = params.get("state") or "present"
    source = params.get("source") or {}
    sources = [name for name in ("bootstrap", "image", "blank") if source.get(name) not in (None, False)]
    if state == "present" and (len(sources) > 1 or (params.get("source") is not None and not sources)):
        raise InvalidSpec(
            f"image {path}: source needs exactly one of bootstrap, image and blank: {', '.join(sources) or 'none is there'}."
        )
    base = parse_base(path, source.get("image"), _mode(params))
    made = "bootstrap" in sources or "blank" in sources
    spec = ImageSpec(
        path=path,
        state=state,
        format=params.get("format") or _format(params, base, bool(sources)),
        size=_size(path, params.get("size")),
        bootstrap=parse_bootstrap(path, source.get("bootstrap")),
        base=base,
        blank=bool(source.get("blank")),
        partition=check_partition(path, params.get("partition")),
        filesystem=parse_filesystem(
            path, params.get("filesystem"), "ext4" if made else None, "root" if "bootstrap" in sources else None
        ),
        fstab=parse_fstab(path, params.get("fstab")),
        kernel=check_path(path, params.get("kernel"), "kernel"),
        initrd=check_path(path, params.get("initrd"), "initrd"),
        owner=params.get("owner"),
        group=params.get("group"),
        mode=customize.octal(path, params.get("mode"), "mode"),
        customize=customize.parse(path, params.get("customize")),
        individual=params.get("customize") is not None,
        sparsify=bool(params.get("sparsify")),
        compress=_COMPRESS[params.get("compress")],
        shrink=bool(params.get("shrink")),
        trust=params.get("trust"),
        rebuild=params.get("rebuild") or "never",
        timeout=_timeout(path, params.get("timeout")),
        keep_failed=bool(params.get("keep_failed")),
    )
    if state == "present":
        _check(spec)
    return spec


def _mode(params: dict[str, t.Any]) -> str:
    """What is made of a base image when it is not said: an overlay, unless something is asked for that none can be."""
    whole = params.get("format") == "raw" or params.get("compress") not in (None, "no")
    return "copy" if whole or any(params.get(name) for name in ("partition", "sparsify", "shrink")) else "overlay"


def _format(params: dict[str, t.Any], base: BaseImage | None, source: bool) -> str | None:
    if not source:
        return None
    overlay = base is not None and base.mode == "overlay"
    return "qcow2" if overlay or params.get("compress") not in (None, "no") else "raw"


def check_together(specs: t.Sequence[ImageSpec]) -> None:
    """No two images of one call may write the same file, nor may one need another that is removed, or itself."""
    owners: dict[str, str] = {}
    for spec in specs:
        for file in (spec.path, spec.kernel, spec.initrd):
            if file is None:
                continue
            other = owners.setdefault(file, spec.path)
            if other != spec.path:
                raise InvalidSpec(f"images {other} and {spec.path}: both write {file}; give each its own file.")
    present = {spec.path: spec for spec in specs if spec.state == "present"}
    absent = {spec.path for spec in specs if spec.state == "absent"}
    for spec in present.values():
        if spec.base is not None and spec.base.path in absent:
            raise InvalidSpec(
                f"image {spec.path}: its base image {spec.base.path} is absent in the same call; keep it."
            )
        if depth(spec, present) > len(present):
            raise InvalidSpec(f"image {spec.path}: its chain of base images leads back to itself; break the circle.")


def depth(spec: ImageSpec, present: t.Mapping[str, ImageSpec]) -> int:
    """How many of the images of the call must be there before this one; more than there are when they form a circle."""
    count = 0
    while spec.base is not None and spec.base.path in present and count <= len(present):
        spec = present[spec.base.path]
        count += 1
    return count


def _size(path: str, value: t.Any) -> int | None:
    if value is None:
        return None
    size = parse_size(value, f"image {path}: size")
    if size == 0 or size % SECTOR:
        raise InvalidSpec(f"image {path}: a size of {value} is no whole number of sectors of {SECTOR} bytes.")
    return size


def _timeout(path: str, value: int | None) -> int:
    if value is not None and value < 1:
        raise InvalidSpec(f"image {path}: a timeout of {value} s is impossible; 1 or more.")
    return DEFAULT_TIMEOUT if value is None else value


def _check(spec: ImageSpec) -> None:
    files = [file for file in (spec.path, spec.kernel, spec.initrd, spec.base.path if spec.base else None) if file]
    if len(set(files)) != len(files):
        raise InvalidSpec(f"image {spec.path}: path, kernel, initrd and the base image must be different files.")
    if spec.bootstrap is None and (spec.customize.packages or spec.customize.commands):
        raise InvalidSpec(
            f"image {spec.path}: packages and commands run while an operating system is built; use them with source.bootstrap."
        )
    if spec.partition is not None and (spec.bootstrap is not None or spec.blank):
        raise InvalidSpec(f"image {spec.path}: what is made here has no partitions; use partition with source.image.")
    if spec.compress not in (None, "none") and spec.format == "raw":
        raise InvalidSpec(f"image {spec.path}: a raw image cannot be compressed; use format: qcow2.")
    _check_blank(spec)
    if spec.base is not None:
        _check_base(spec, spec.base)


def _check_base(spec: ImageSpec, base: BaseImage) -> None:
    if base.mode == "overlay":
        if spec.format != "qcow2":
            raise InvalidSpec(
                f"image {spec.path}: an overlay is always qcow2; use format qcow2, or source.image.mode copy for a raw disk."
            )
        whole = [name for name in ("partition", "sparsify", "shrink") if getattr(spec, name)]
        whole += ["compress"] if spec.compress not in (None, "none") else []
        if whole:
            raise InvalidSpec(
                f"image {spec.path}: an overlay holds only what differs from its base image, so {' and '.join(whole)} cannot be"
                " done to it; use source.image.mode copy."
            )


def _check_blank(spec: ImageSpec) -> None:
    if spec.blank:
        if spec.size is None:
            raise InvalidSpec(f"image {spec.path}: a blank image needs a size, like 10GiB.")
        if spec.customize != NOTHING or spec.fstab or spec.kernel or spec.initrd:
            raise InvalidSpec(f"image {spec.path}: there is nothing to customize or to extract in a blank image.")
    if spec.bootstrap is not None and spec.filesystem is not None and spec.filesystem.type != "ext4":
        raise InvalidSpec(f"image {spec.path}: an operating system is built on ext4 only; leave out filesystem.type.")
    if spec.filesystem is not None and (spec.blank or spec.bootstrap is not None):
        check_size(spec.path, spec.filesystem, spec.size or DEFAULT_SIZE)
