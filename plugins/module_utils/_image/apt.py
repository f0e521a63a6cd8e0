# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: apt's sources, read from its two kinds of files, chosen for a suite, written as one deb822 file. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

#: Names that follow the releases; a host that uses them has the release that it has.
_ALIASES = ("stable", "oldstable", "oldoldstable", "testing")
_POCKETS = ("", "-updates", "-security", "/updates")
_ONE_LINE = re.compile(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)(?:\s+(.*))?")
#: Options that decide whether an archive is trusted; the others (architectures, languages) are the host's own matter.
_KEPT = (
    "Signed-By",
    "Trusted",
    "Allow-Insecure",
    "Allow-Weak",
    "Allow-Downgrade-To-Insecure",
    "Check-Valid-Until",
    "Check-Date",
)


@dataclasses.dataclass(frozen=True)
class Source:
    """An archive of binary packages. ``options`` are deb822 fields of the kept kind, values possibly of many lines."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


def parse_list(text: str) -> list[Source]:
    """The entries of a one-line style file (``*.list``)."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.split("#")[0].strip())
        if match:
            options = [word.partition("=") for word in (match.group(1) or "").split()]
            known = {name.lower(): name for name in _KEPT}
            kept = tuple((known[key.lower()], value) for key, _sign, value in options if key.lower() in known)
            found.append(Source((match.group(2),), (match.group(3),), tuple((match.group(4) or "").split()), kept))
    return found


def parse_deb822(text: str) -> list[Source]:
    """The entries of a deb822 style file (``*.sources``)."""
    found = []
    for block in re.split(r"\n[ \t]*\n", text):
        fields = _fields(block)
        words = {name: tuple(fields.get(name, "").split()) for name in ("types", "uris", "suites", "components")}
        if "deb" not in words["types"] or fields.get("enabled", "yes").strip().lower() in (
            "no",
            "false",
            "without",
            "off",
            "disable",
        ):
            continue
        kept = tuple((name, fields[name.lower()]) for name in _KEPT if name.lower() in fields)
        found.append(Source(words["uris"], words["suites"], words["components"], kept))
    return found


def _fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, _colon, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def select(sources: t.Sequence[Source], host_suite: str, suite: str) -> list[Source]:
    """The sources of the host's own release with its updates and security fixes, for ``suite`` instead."""
    wanted = {name + pocket: suite + pocket for name in (host_suite, *_ALIASES) for pocket in _POCKETS}
    chosen = []
    for source in sources:
        suites = tuple(wanted[name] for name in source.suites if name in wanted)
        if suites:
            chosen.append(dataclasses.replace(source, suites=suites))
    return chosen


def from_mirrors(mirrors: t.Sequence[str], suite: str, components: t.Sequence[str]) -> list[Source]:
    """Stated mirrors: URIs, or whole one-line entries."""
    found: list[Source] = []
    for mirror in mirrors:
        found += parse_list(mirror) if mirror.startswith("deb") else [Source((mirror,), (suite,), tuple(components))]
    return found


def write(sources: t.Sequence[Source], components: t.Sequence[str] | None = None) -> str:
    """The sources as deb822 text; ``components`` replaces theirs."""
    blocks = []
    for source in sources:
        parts = " ".join(components or source.components)
        lines = ["Types: deb", f"URIs: {' '.join(source.uris)}", f"Suites: {' '.join(source.suites)}"]
        if parts:
            lines.append(f"Components: {parts}")
        lines += [f"{name}: {value}" for name, value in source.options]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def uris(sources: t.Sequence[Source]) -> list[str]:
    """All URIs."""
    return [uri for source in sources for uri in source.uris]


def passed_options(dump: str) -> list[str]:
    """Of ``apt-config dump`` the lines by which the host reaches its archives: proxies, certificates, retries, dates."""
    # How indexes are stored or which languages are fetched is the host's own matter.
    kept = re.compile(
        r'Acquire::(?:http|https|ftp|socks|Retries|Check-Valid-Until|Check-Date|ForceIPv[46]|Max-ValidTime)\b.*"[^"]+";'
    )
    return [line for line in dump.splitlines() if kept.fullmatch(line.strip())]
