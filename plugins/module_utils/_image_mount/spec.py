# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Mounts of images: the parameters as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import os.path
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

#: How ``partition`` names the root file system, whichever it is.
ROOT = "root"
#: What is bound into a mount for ``chroot``, in the order in which it is done.
BINDS = ("dev", "dev/pts", "proc", "sys")
DEFAULT_TIMEOUT = 300
DEFAULT_HOLDERS_TIMEOUT = 10
# What mountinfo, qemu's options and messages can all take.
_CLEAN_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
_TAKEN = frozenset(
    f"/{name}"
    for name in (
        "",
        *["bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var"],
    )
)


@dataclasses.dataclass(frozen=True)
class MountSpec:
    """A mount of an image. None is "not stated": ``format`` and ``trust`` then come from the record of the image, ``path``
    from the record of the mount. ``partition`` is a number, ``root``, or None for the whole disk or the root file system
    of a partitioned one. Times are in seconds.
    """

    mountpoint: str
    path: str | None = None
    state: str = "mounted"
    format: str | None = None
    partition: int | str | None = None
    read_only: bool = False
    trust: str | None = None
    backend: str = "auto"
    chroot: bool = False
    holders: str = "fail"
    holders_timeout: int = DEFAULT_HOLDERS_TIMEOUT
    lazy: bool = False
    timeout: int = DEFAULT_TIMEOUT

    @property
    def binds(self) -> tuple[str, ...]:
        """What is to be bound into the mount, as paths in it."""
        return BINDS if self.chroot else ()


def parse(params: dict[str, t.Any]) -> MountSpec:
    """The options of one mount to its specification; raises InvalidSpec with a sentence that names the folder."""
    mountpoint = _path(params["mountpoint"], params["mountpoint"], "mountpoint")
    state = params.get("state") or "mounted"
    path = _path(mountpoint, params["path"], "path") if params.get("path") is not None else None
    spec = MountSpec(
        mountpoint=mountpoint,
        path=path,
        state=state,
        format=params.get("format"),
        partition=_partition(mountpoint, params.get("partition")),
        read_only=bool(params.get("read_only")),
        trust=params.get("trust"),
        backend=params.get("backend") or "auto",
        chroot=bool(params.get("chroot")),
        holders=params.get("holders") or "fail",
        holders_timeout=_seconds(mountpoint, params, "holders_timeout", DEFAULT_HOLDERS_TIMEOUT),
        lazy=bool(params.get("lazy")),
        timeout=_seconds(mountpoint, params, "timeout", DEFAULT_TIMEOUT),
    )
    _check(spec)
    return spec


def check_together(specs: t.Sequence[MountSpec]) -> None:
    """No two mounts of a call may write to one image; raises InvalidSpec."""
    wanted = [spec for spec in specs if spec.state == "mounted"]
    for index, spec in enumerate(wanted):
        for other in wanted[:index]:
            if spec.path == other.path and not (spec.read_only and other.read_only):
                raise InvalidSpec(
                    f"mount {spec.mountpoint}: {spec.path} is to be mounted at {other.mountpoint} as well,"
                    " which needs read_only: true for both."
                )


def in_order(binds: t.Iterable[str]) -> list[str]:
    """Binds in the order in which they are made: ours, then those of others."""
    present = set(binds)
    return [item for item in BINDS if item in present] + sorted(present - set(BINDS))


def _check(spec: MountSpec) -> None:
    name = f"mount {spec.mountpoint}"
    if spec.mountpoint in _TAKEN:
        raise InvalidSpec(f"{name}: the system needs this folder itself; choose another mountpoint.")
    if spec.state == "unmounted":
        return
    if spec.path is None:
        raise InvalidSpec(f"{name}: path is needed for state: mounted; name the image.")
    if spec.chroot and spec.trust == "untrusted":
        raise InvalidSpec(
            f"{name}: chroot: true is for running the image's programs as root of this host, which trust: untrusted"
            " rules out; use one or the other."
        )
    if spec.backend == "guestmount" and spec.chroot:
        raise InvalidSpec(f"{name}: chroot: true does not go with backend: guestmount; use loop, fuse or nbd.")
    if spec.trust == "untrusted" and spec.backend in ("loop", "nbd"):
        raise InvalidSpec(
            f"{name}: with backend: {spec.backend} this host's kernel would read the file system, which trust: untrusted"
            " rules out; use guestmount, fuse or auto."
        )
    if spec.format == "qcow2" and spec.backend == "loop":
        raise InvalidSpec(f"{name}: backend: loop is for raw images only; use fuse, nbd or auto for qcow2.")


def _path(name: str, path: str, option: str) -> str:
    if not _CLEAN_PATH.fullmatch(path) or path != os.path.normpath(path) or path.startswith("//"):
        raise InvalidSpec(
            f"mount {name!r}: {option} must be an absolute path without '..', double slashes, control characters"
            f" and a slash at its end, not {path!r}."
        )
    return path


def _partition(name: str, value: t.Any) -> int | str | None:
    if value is None or value == ROOT:
        return t.cast("str | None", value)
    text = str(value)
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text):
        raise InvalidSpec(f"mount {name}: partition must be a number from 1 or {ROOT!r}, not {text!r}.")
    return int(text)


def _seconds(name: str, params: dict[str, t.Any], option: str, default: int) -> int:
    value = params.get(option)
    if value is None:
        return default
    if not 1 <= value <= 86400:
        raise InvalidSpec(f"mount {name}: {option} must be between 1 and 86400 seconds, not {value}.")
    return int(value)
