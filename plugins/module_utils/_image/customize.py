# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: what is put into a guest, as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import interfaces
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.interfaces import Bond, Interface, Route

__all__ = [
    "RESET",
    "Bond",
    "Customize",
    "Former",
    "GuestFile",
    "Host",
    "Interface",
    "Route",
    "octal",
    "packages",
    "parse",
]

_CRYPT = re.compile(r"\$[0-9a-z]+\$[^:\s]+|[!*]+")
_KEY = re.compile(r"(?:[^\s#][^\n]* )?(?:ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ AAAA[A-Za-z0-9+/=]+(?: [^\n]*)?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?:[=/][A-Za-z0-9.+~:-]+)?")
_MODE = re.compile(r"0?[0-7]{3,4}")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
# What debugfs takes in a quoted word without any escaping.
_GUEST_PATH = re.compile(r"/[^\x00-\x1f\"\\]*")
_MAX_ID = 65535
_MAX_NAME, _MAX_PATH = 255, 4096
# HOST_NAME_MAX: the kernel takes no longer one, whatever is allowed in DNS.
_MAX_HOSTNAME = 64
#: The machine id that is made at the next start.
RESET = "reset"


@dataclasses.dataclass(frozen=True)
class GuestFile:
    """A file of the guest. ``mode`` is octal text; ``owner`` and ``group`` are numeric ids in the guest."""

    path: str
    content: str
    mode: str = "0644"
    owner: int = 0
    group: int = 0


@dataclasses.dataclass(frozen=True)
class Host:
    """A line of ``/etc/hosts``: an address and the names that it has there."""

    address: str
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Former:
    """What an earlier declaration had and this one has not: paths of files, lines of ``/etc/hosts``."""

    files: tuple[str, ...] = ()
    hosts: tuple[Host, ...] = ()


@dataclasses.dataclass(frozen=True)
class Customize:
    """What is put into a guest; None = not stated."""

    hostname: str | None = None
    hosts: tuple[Host, ...] | None = None
    interfaces: tuple[Interface, ...] | None = None
    ssh_authorized_keys: tuple[str, ...] | None = None
    root_password: str | None = None
    packages: tuple[str, ...] = ()
    files: tuple[GuestFile, ...] = ()
    commands: tuple[str, ...] = ()
    machine_id: str | None = None


def parse(path: str, value: dict[str, t.Any] | None) -> Customize:
    """The option ``customize`` of the image ``path``; raises InvalidSpec."""
    value = value or {}
    return Customize(
        hostname=_own_hostname(path, value.get("hostname")),
        hosts=_hosts(path, value.get("hosts")),
        interfaces=interfaces.parse(path, value.get("interfaces")),
        ssh_authorized_keys=_keys(path, value.get("ssh_authorized_keys")),
        root_password=_password(path, value.get("root_password")),
        packages=packages(path, value.get("packages")),
        files=_files(path, value.get("files")),
        commands=tuple(value.get("commands") or ()),
        machine_id=_machine_id(path, value.get("machine_id")),
    )


def packages(path: str, value: t.Sequence[str] | None) -> tuple[str, ...]:
    """Package names as apt takes them (``name``, ``name=version``, ``name/suite``)."""
    for name in value or ():
        if not _PACKAGE.fullmatch(name):
            raise InvalidSpec(f"image {path}: '{name}' is no name of a package.")
    return tuple(value or ())


def octal(path: str, value: str | None, what: str) -> str | None:
    """A mode as text of four octal digits; None stays None."""
    if value is None:
        return None
    mode = int(value, 8) if _MODE.fullmatch(value) else 0
    # What others may and the owner may not is 0644 without quotes, which YAML takes for the number 420.
    others = (mode >> 3 | mode) & 0o7 & ~(mode >> 6)
    if not _MODE.fullmatch(value) or (others and not value.startswith("0")):
        raise InvalidSpec(f"image {path}: {what} '{value}' is no mode; quote it and write it in octal, like \"0644\".")
    return f"{int(value, 8):04o}"


def _hostname(path: str, value: str | None) -> str | None:
    if value is not None and (not interfaces.HOSTNAME.fullmatch(value) or len(value) > 253):
        raise InvalidSpec(
            f"image {path}: '{value}' is no host name; letters, digits, hyphens and dots only, at most 63 between dots."
        )
    return value


def _own_hostname(path: str, value: str | None) -> str | None:
    if value is not None and len(value) > _MAX_HOSTNAME:
        raise InvalidSpec(
            f"image {path}: customize.hostname '{value}' is too long; Linux takes up to {_MAX_HOSTNAME} characters."
        )
    return _hostname(path, value)


def _hosts(path: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[Host, ...] | None:
    if value is None:
        return None
    found = tuple(_host(path, entry) for entry in value)
    for host in found:
        if sum(1 for other in found if other.address == host.address) > 1:
            raise InvalidSpec(
                f"image {path}: customize.hosts has {host.address} twice; give it all its names in one entry."
            )
    return found


def _host(path: str, entry: dict[str, t.Any]) -> Host:
    address, names = entry.get("address") or "", entry.get("names") or []
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidSpec(f"image {path}: '{address}' in customize.hosts is no IP address.") from None
    if not names:
        raise InvalidSpec(f"image {path}: {address} in customize.hosts has no names.")
    return Host(address, tuple(t.cast(str, _hostname(path, name)) for name in names))


def _keys(path: str, value: t.Sequence[str] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    # A key read from a file ends with a newline, and such a file may have several.
    keys = [line.strip() for entry in value for line in entry.splitlines() if line.strip() and not line.startswith("#")]
    for number, key in enumerate(keys, 1):
        if not _KEY.fullmatch(key) or _CONTROL.search(key):
            raise InvalidSpec(f"image {path}: entry {number} of customize.ssh_authorized_keys is no public SSH key.")
    return tuple(dict.fromkeys(keys))


def _password(path: str, value: str | None) -> str | None:
    if value is not None and not _CRYPT.fullmatch(value):
        raise InvalidSpec(
            f"image {path}: customize.root_password is no crypt(3) hash; make one with the filter"
            " ansible.builtin.password_hash and a fixed salt."
        )
    return value


def _machine_id(path: str, value: str | None) -> str | None:
    if value not in (None, RESET) and (not _MACHINE_ID.fullmatch(str(value)) or set(str(value)) == {"0"}):
        raise InvalidSpec(
            f"image {path}: customize.machine_id '{value}' is neither 32 lower case hexadecimal digits (not all 0) nor"
            f" {RESET}."
        )
    return value


def _files(path: str, value: t.Sequence[dict[str, t.Any]] | None) -> tuple[GuestFile, ...]:
    files = tuple(_file(path, entry) for entry in value or ())
    names = [entry.path for entry in files]
    for name in names:
        if names.count(name) > 1:
            raise InvalidSpec(f"image {path}: customize.files has {name} twice.")
        below = next((other for other in names if other.startswith(f"{name}/")), None)
        if below is not None:
            raise InvalidSpec(f"image {path}: customize.files has {name} as a file and, with {below}, as a folder.")
    return files


def _file(path: str, entry: dict[str, t.Any]) -> GuestFile:
    name = entry.get("path") or ""
    if (
        not _GUEST_PATH.fullmatch(name)
        or name.endswith("/")
        or any(part in ("", ".", "..") for part in name[1:].split("/"))
    ):
        raise InvalidSpec(
            f"image {path}: '{name}' in customize.files is no absolute path of a file (plain, without '..')."
        )
    if len(name.encode()) >= _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in name.split("/")):
        raise InvalidSpec(
            f"image {path}: '{name:.60}...' in customize.files is too long; up to {_MAX_NAME} bytes between slashes and"
            f" {_MAX_PATH - 1} in all."
        )
    if entry.get("content") is None:
        raise InvalidSpec(f"image {path}: the file {name} has no content.")
    for what in ("owner", "group"):
        if not 0 <= (entry.get(what) or 0) <= _MAX_ID:
            raise InvalidSpec(f"image {path}: {what} of {name} is to be a numeric id from 0 to {_MAX_ID}.")
    mode = octal(path, entry.get("mode"), f"the mode of {name}") or "0644"
    return GuestFile(name, entry["content"], mode, entry.get("owner") or 0, entry.get("group") or 0)
