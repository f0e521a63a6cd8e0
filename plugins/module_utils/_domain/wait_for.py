# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what a task waits for, as a typed, validated specification. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

#: What can be waited for, in the order in which it usually comes.
THINGS = ("ip", "ssh", "agent", "cloud_init", "console")
#: What each of them takes when it is a dictionary.
_DETAILS = {
    "ip": ("address", "family"),
    "ssh": ("address", "port"),
    "agent": (),
    "cloud_init": (),
    "console": ("pattern",),
}
_FAMILIES = {"any": 0, "ipv4": 4, "ipv6": 6}
_NO = ("false", "no", "off", "n", "f", "0")


@dataclasses.dataclass(frozen=True)
class Wait:
    """What to wait for. ``ip_address`` and ``ssh_address`` when they are known beforehand, ``ip_version`` 4, 6 or 0 (any),
    ``console`` a regular expression; time in seconds."""

    ip: bool = False
    ip_address: str | None = None
    ip_version: int = 0
    ssh: bool = False
    ssh_address: str | None = None
    ssh_port: int = 22
    agent: bool = False
    cloud_init: bool = False
    console: str | None = None
    timeout: float = 300

    @property
    def things(self) -> tuple[str, ...]:
        """The names of what is waited for."""
        return tuple(thing for thing in THINGS if getattr(self, thing))

    @property
    def needs_agent(self) -> bool:
        """Whether it can never end without the guest agent."""
        return self.agent or self.cloud_init

    @property
    def wants_addresses(self) -> bool:
        """Whether the addresses of the guest have to be found."""
        return (self.ip and self.ip_address is None) or (self.ssh and self.ssh_address is None)

    def __bool__(self) -> bool:
        return bool(self.things)


def parse(name: str, value: t.Any, timeout: float) -> Wait:
    """The option ``wait_for`` of a domain; ``timeout`` is what holds unless it says another one itself."""
    what = f"domain {name}: wait_for"
    stated = _as_dict(what, value)
    if stated.get("timeout") is not None:
        timeout = _timeout(what, stated["timeout"])
    wanted = {thing: stated[thing] for thing in THINGS if thing in stated and _is_wanted(stated[thing])}
    details = {thing: _details(what, thing, value) for thing, value in wanted.items()}
    ip, ssh = details.get("ip", {}), details.get("ssh", {})
    return Wait(
        ip="ip" in wanted,
        ip_address=_ip_address(what, ip.get("address")),
        ip_version=_family(what, ip),
        ssh="ssh" in wanted,
        ssh_address=_host(what, ssh.get("address")),
        ssh_port=_port(what, ssh.get("port", 22)),
        agent="agent" in wanted,
        cloud_init="cloud_init" in wanted,
        console=_pattern(what, details["console"].get("pattern")) if "console" in wanted else None,
        timeout=timeout,
    )


def _as_dict(what: str, value: t.Any) -> dict[str, t.Any]:
    """``ip, ssh``, ``[ip, ssh]`` and ``{ip: true, ssh: {port: 2222}}`` are ways to say the same."""
    if value is None:
        return {}
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",") if word.strip()]
    if isinstance(value, (list, tuple)):
        words: dict[str, t.Any] = {}
        for item in value:
            # An item with details is a dictionary of its own: [agent, {console: "login:"}].
            words.update(item if isinstance(item, dict) else {str(item): True})
        value = words
    if not isinstance(value, dict):
        raise InvalidSpec(f"{what} is a list or a dictionary of {_and(THINGS)}, not {value!r}.")
    unknown = [str(key) for key in value if key not in (*THINGS, "timeout")]
    if unknown:
        raise InvalidSpec(f"{what} knows {_and(THINGS)} (and timeout), not {_and(unknown)}.")
    return value


def _and(words: t.Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _is_wanted(value: t.Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _NO
    # A key without a value, and one with details of which none is stated, are wanted.
    return value is None or isinstance(value, dict) or bool(value)


def _details(what: str, thing: str, value: t.Any) -> dict[str, t.Any]:
    known = _DETAILS[thing]
    if thing == "console" and isinstance(value, str):
        return {"pattern": value}
    if isinstance(value, dict):
        unknown = [str(key) for key in value if key not in known]
        if unknown:
            has = f"has {_and(known)}" if known else "has no details"
            raise InvalidSpec(f"{what}.{thing} {has}, not {_and(sorted(unknown))}.")
        return {key: item for key, item in value.items() if item is not None}
    if value is None:
        return {}
    if value is not True and str(value).strip().lower() not in ("true", "yes", "on", "y", "t", "1"):
        raise InvalidSpec(
            f"{what}.{thing} is true{' or a dictionary of ' + _and(known) if known else ''}, not {value!r}."
        )
    return {}


def _timeout(what: str, value: t.Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError) as exc:
        raise InvalidSpec(f"{what}.timeout is a number of seconds, not {value!r}.") from exc
    if isinstance(value, bool) or not 0 <= seconds < 1e9:
        raise InvalidSpec(f"{what}.timeout of {value} s is impossible; 0 or more.")
    return seconds


def _ip_address(what: str, value: t.Any) -> str | None:
    if value is None:
        return None
    try:
        address = ipaddress.ip_interface(str(value)).ip
    except ValueError as exc:
        raise InvalidSpec(f"{what}.ip.address: '{value}' is no IP address.") from exc
    if not is_useful(str(address)):
        raise InvalidSpec(f"{what}.ip.address: {value} is no address by which others reach a guest.")
    return str(address)


def _family(what: str, details: dict[str, t.Any]) -> int:
    family = details.get("family", "any")
    if family not in _FAMILIES:
        raise InvalidSpec(f"{what}.ip.family is {_and(list(_FAMILIES))}, not {family!r}.")
    if "address" in details and _FAMILIES[family] not in (0, ipaddress.ip_interface(str(details["address"])).version):
        raise InvalidSpec(f"{what}.ip: {details['address']} is no {family} address.")
    return _FAMILIES[family]


def _host(what: str, value: t.Any) -> str | None:
    if value is not None and not re.fullmatch(r"[^\s/]+", str(value)):
        raise InvalidSpec(f"{what}.ssh.address: '{value}' is neither an address nor the name of a host.")
    return None if value is None else str(value)


def _port(what: str, value: t.Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,5}", str(value)) or not 0 < int(value) < 65536:
        raise InvalidSpec(f"{what}.ssh.port {value} is no port number.")
    return int(value)


def _pattern(what: str, value: t.Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidSpec(f"{what}.console needs the regular expression to wait for, as in console: 'login:'.")
    try:
        re.compile(value)
    except re.error as exc:
        raise InvalidSpec(f"{what}.console: '{value}' is no regular expression: {exc}.") from exc
    return value


def is_useful(address: str, version: int = 0) -> bool:
    """Whether others can reach a guest by this address: it is neither loopback nor link-local, nor no address at all."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if version not in (0, parsed.version):
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)
