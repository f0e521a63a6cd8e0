# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import os.path
import re
import typing as t
import uuid as uuidlib

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import customize
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Customize
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import parse_size

#: The suffix of the record that stands beside an image.
MANIFEST_SUFFIX = ".kvm_image.json"
SECTOR = 512
DEFAULT_SIZE = 2 << 30
DEFAULT_TIMEOUT = 1800
# Extended file systems have 16 bytes for a label, and a smaller one than 4 MiB has no room for a journal.
_LABEL = re.compile(r"[A-Za-z0-9_.:+-]{1,16}")
_MIN_FS = 4 << 20
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_FSTAB_WORD = re.compile(r"[^\s#][^\s]*")
_CLEAN_PATH = re.compile(r"/[^\x00-\x1f,\"\\]*")


NOTHING = Customize()


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
    """Another image as the source. ``format`` is that of ``path``; it is never guessed from what a guest wrote."""

    path: str
    mode: str = "overlay"
    format: str = "raw"


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """The one file system of an unpartitioned image."""

    type: str = "ext4"
    label: str | None = None
    uuid: str | None = None


@dataclasses.dataclass(frozen=True)
class Mount:
    """A line of fstab."""

    src: str
    path: str
    fstype: str
    opts: str = "defaults"
    dump: int = 0
    passno: int = 0


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """An image. ``size`` is in bytes, ``timeout`` in seconds; exactly one source is there when ``state`` is present."""

    path: str
    state: str = "present"
    format: str = "raw"
    size: int | None = None
    bootstrap: Bootstrap | None = None
    base: BaseImage | None = None
    blank: bool = False
    filesystem: Filesystem | None = None
    fstab: tuple[Mount, ...] | None = None
    kernel: str | None = None
    initrd: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: str | None = None
    customize: Customize = NOTHING
    #: Whether ``customize`` is stated at all: then a disk from a base becomes a guest of its own.
    individual: bool = False
    rebuild: str = "never"
    timeout: int = DEFAULT_TIMEOUT
    keep_failed: bool = False


def parse(params: dict[str, t.Any]) -> ImageSpec:
    """The options of one image to its specification; raises InvalidSpec with a sentence that names the image."""
    path = params["path"]
    _check_path(path, path, "path")
    state = params.get("state") or "present"
    source = params.get("source") or {}
    sources = [name for name in ("bootstrap", "image", "blank") if source.get(name) not in (None, False)]
    if state == "present" and len(sources) != 1:
        raise InvalidSpec(
            f"image {path}: source needs exactly one of bootstrap, image and blank: {', '.join(sources) or 'none is there'}."
        )
    base = _base(path, source.get("image"))
    spec = ImageSpec(
        path=path,
        state=state,
        format=params.get("format") or ("qcow2" if base is not None and base.mode == "overlay" else "raw"),
        size=_size(path, params.get("size")),
        bootstrap=_bootstrap(path, source.get("bootstrap")),
        base=base,
        blank=bool(source.get("blank")),
        filesystem=_filesystem(path, params.get("filesystem"), "bootstrap" in sources),
        fstab=_fstab(path, params.get("fstab")),
        kernel=_check_path(path, params.get("kernel"), "kernel"),
        initrd=_check_path(path, params.get("initrd"), "initrd"),
        owner=params.get("owner"),
        group=params.get("group"),
        mode=customize.octal(path, params.get("mode"), "mode"),
        customize=customize.parse(path, params.get("customize")),
        individual=params.get("customize") is not None,
        rebuild=params.get("rebuild") or "never",
        timeout=_timeout(path, params.get("timeout")),
        keep_failed=bool(params.get("keep_failed")),
    )
    if state == "present":
        _check(spec)
    return spec


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


def _check_path(path: str, value: str | None, what: str) -> str | None:
    if value is None:
        return None
    if not _CLEAN_PATH.fullmatch(value) or os.path.normpath(value) != value or value == "/":
        raise InvalidSpec(
            f"image {path}: {what} '{value}' is no plain absolute path of a file"
            " (no '..', no double or trailing slash, no comma, quote or backslash)."
        )
    if value.endswith(MANIFEST_SUFFIX):
        raise InvalidSpec(f"image {path}: {what} ends in {MANIFEST_SUFFIX}, the name of the records of this module.")
    return value


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


def _bootstrap(path: str, value: dict[str, t.Any] | None) -> Bootstrap | None:
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


def _base(path: str, value: dict[str, t.Any] | None) -> BaseImage | None:
    if value is None:
        return None
    if not value.get("path"):
        raise InvalidSpec(f"image {path}: source.image needs the path of the base image.")
    base = t.cast("str", _check_path(path, value["path"], "source.image.path"))
    if base == path:
        raise InvalidSpec(f"image {path}: it cannot be its own base image.")
    return BaseImage(base, value.get("mode") or "overlay", value.get("format") or "raw")


def _filesystem(path: str, value: dict[str, t.Any] | None, bootstrap: bool) -> Filesystem | None:
    if value is None:
        return Filesystem(label="root") if bootstrap else None
    label = value.get("label") or ("root" if bootstrap else None)
    if label is not None and not _LABEL.fullmatch(label):
        raise InvalidSpec(f"image {path}: file system label '{label}' is not 1 to 16 letters, digits and '_.:+-'.")
    return Filesystem(value.get("type") or "ext4", label, _uuid(path, value.get("uuid")))


def _uuid(path: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return str(uuidlib.UUID(value))
    except ValueError as exc:
        raise InvalidSpec(f"image {path}: file system uuid '{value}' is no UUID.") from exc


def _fstab(path: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[Mount, ...] | None:
    if value is None:
        return None
    mounts = tuple(_mount(path, entry) for entry in value)
    if sum(1 for mount in mounts if mount.path == "/") != 1:
        raise InvalidSpec(
            f"image {path}: fstab needs exactly one entry for /, or its root file system stays read-only."
        )
    return mounts


def _mount(path: str, entry: dict[str, t.Any]) -> Mount:
    words = [
        entry.get("src") or "",
        entry.get("path") or "",
        entry.get("fstype") or "",
        entry.get("opts") or "defaults",
    ]
    for what, word in zip(("src", "path", "fstype", "opts"), words):
        if not _FSTAB_WORD.fullmatch(word):
            raise InvalidSpec(f"image {path}: fstab entry needs {what}, without spaces: '{word}'.")
    return Mount(words[0], words[1], words[2], words[3], entry.get("dump") or 0, entry.get("passno") or 0)


def _check(spec: ImageSpec) -> None:
    files = [file for file in (spec.path, spec.kernel, spec.initrd, spec.base.path if spec.base else None) if file]
    if len(set(files)) != len(files):
        raise InvalidSpec(f"image {spec.path}: path, kernel, initrd and the base image must be different files.")
    if spec.bootstrap is None and (spec.customize.packages or spec.customize.commands):
        raise InvalidSpec(
            f"image {spec.path}: packages and commands run while an operating system is built; use them with source.bootstrap."
        )
    _check_blank(spec)
    if spec.base is not None:
        if spec.base.mode == "overlay" and spec.format != "qcow2":
            raise InvalidSpec(
                f"image {spec.path}: an overlay is always qcow2; use format qcow2, or source.image.mode copy for a raw disk."
            )
        if spec.filesystem is not None:
            raise InvalidSpec(
                f"image {spec.path}: a disk made from a base image has the file system of the base; leave out filesystem."
            )


def _check_blank(spec: ImageSpec) -> None:
    if spec.blank:
        if spec.size is None:
            raise InvalidSpec(f"image {spec.path}: a blank image needs a size, like 10GiB.")
        if spec.customize != NOTHING or spec.fstab or spec.kernel or spec.initrd:
            raise InvalidSpec(f"image {spec.path}: there is nothing to customize or to extract in a blank image.")
    if spec.filesystem is not None and (spec.size or DEFAULT_SIZE) < _MIN_FS:
        raise InvalidSpec(f"image {spec.path}: a file system needs a size of 4 MiB or more.")
