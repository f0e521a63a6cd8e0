# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local package archive for lab hosts, so that apt and mmdebstrap work on them for real without leaving the machine.

The packages come through the machine's own apt and its configuration, with the suite replaced.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab_cache import cache_folder, key_of, locked, prune, run_tool, say
from lab_errors import LabError

SUITES = ("trixie", "bookworm")
BARE_PACKAGES = [
    "apt",
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "udev",
    "kmod",
    "procps",
    "iproute2",
    "iputils-ping",
    "openssh-server",
    "openssh-client",
    "python3",
    "sudo",
    "ca-certificates",
    "git",
    "less",
]
HOST_PACKAGES = BARE_PACKAGES + [
    "libvirt-daemon-system",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "qemu-system-x86",
    "qemu-utils",
    "dnsmasq-base",
    "iptables",
    "nftables",
    "mmdebstrap",
    "python3-libvirt",
    "python3-lxml",
    "python3-venv",
    "e2fsprogs",
    "fdisk",
    "netcat-openbsd",
    "zstd",
    "debian-archive-keyring",
]
# For guests, and for what a test may want to install on a host.
EXTRA_PACKAGES = [
    "ifupdown",
    "isc-dhcp-client",
    "qemu-guest-agent",
    "initramfs-tools",
    "curl",
    "conntrack",
    "firewalld",
    "ufw",
    "busybox-static",
    "cpio",
    "dosfstools",
    "parted",
    "rsync",
    "cloud-guest-utils",
    "python3-pip",
    "python3-apt",
    "fuse2fs",
    "xz-utils",
    "hello",
    "mtools",
]


def _machine_entries() -> list[dict[str, str]]:
    """Return the machine's apt sources as deb822 fields, one-line entries included."""
    entries: list[dict[str, str]] = []
    etc = Path("/etc/apt")
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            lines = [line for line in block.splitlines() if not line.startswith("#")]
            pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith(" "))
            entries.append({name.strip(): value.strip() for name, value in pairs})
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
            if found:
                options = dict(o.split("=", 1) for o in (found.group(1) or "").split() if "=" in o)
                entry = {"Types": "deb", "URIs": found.group(2), "Suites": found.group(3)}
                entries.append({**entry, "Components": found.group(4), "Signed-By": options.get("signed-by", "")})
    return [entry for entry in entries if "deb" in entry.get("Types", "").split() and entry.get("Suites")]


def _sources(suite: str) -> str:
    """Return the machine's apt sources with the suite replaced, as deb822 text."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    codename = release.get("VERSION_CODENAME", "").strip('"')
    blocks = []
    for entry in _machine_entries():
        mine = [
            s for s in entry["Suites"].split() if s == codename or s in (f"{codename}-updates", f"{codename}-security")
        ]
        if mine:
            suites = " ".join(s.replace(codename, suite, 1) for s in mine)
            text = f"Types: deb\nURIs: {entry['URIs']}\nSuites: {suites}\nComponents: main\n"
            signed = entry.get("Signed-By", "")
            blocks.append(text + (f"Signed-By: {signed}\n" if signed else ""))
    if not blocks or release.get("ID", "").strip('"') != "debian":
        raise LabError(f"no Debian source for {codename or 'this system'} in /etc/apt: the lab needs a Debian machine")
    return "\n".join(blocks)


def _apt(state: Path) -> list[str]:
    """Return the start of an apt-get command that keeps its whole state in ``state`` and knows no installed package."""
    for name in ("lists/partial", "cache/archives/partial", "etc/parts", "etc/preferences"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state / "cache"),
        "Dir::Cache::archives": str(state / "cache/archives"),
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(state / "etc/parts"),
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": str(state / "etc/preferences"),
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "APT::Update::Post-Invoke-Success::": "/bin/true",
        "Debug::NoLocking": "false",
        "Acquire::Retries": "3",
    }
    return ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]


def archive_packages(extra: Sequence[str] = ()) -> list[str]:
    """Return every package that the archive holds by name (their dependencies come by themselves)."""
    arch = run_tool(["dpkg", "--print-architecture"], "architecture").strip()
    return sorted({*HOST_PACKAGES, *EXTRA_PACKAGES, f"linux-image-cloud-{arch}", *extra})


def current_archive(suite: str) -> Path:
    """Return the folder of the suite's archive for this week; build it when the cache has none."""
    return build_archive(suite)


def build_archive(suite: str, extra: Sequence[str] = ()) -> Path:
    """Make the local archive of ``suite`` with the default packages and ``extra``; return its folder (cached).

    The extra packages of all calls add up, so that two tests with different wishes do not take turns in rebuilding.
    """
    top = cache_folder() / "archive"
    top.mkdir(exist_ok=True)
    remembered = top / f"{suite}.extra"
    with locked(f"archive-{suite}"):
        known = remembered.read_text(encoding="ascii").split() if remembered.exists() else []
        wanted = archive_packages([*known, *extra])
        folder = top / f"{suite}-{key_of(wanted)}"
        if not (folder / "dists").exists():
            say(f"downloading the {suite} packages for the lab's archive")
            _fill_archive(suite, wanted, folder)
        if set(extra) - set(known):
            remembered.write_text("\n".join(sorted({*known, *extra})) + "\n", encoding="ascii")
        folder.touch()
        prune(top, f"{suite}-*", keep=2)
    return folder


def _fill_archive(suite: str, wanted: Sequence[str], folder: Path) -> None:
    state = cache_folder() / "apt" / suite
    apt = _apt(state)
    (state / "etc/parts/lab.sources").write_text(_sources(suite), encoding="utf-8")
    run_tool([*apt, "update"], f"the {suite} package lists")
    # The required and important packages too: with them mmdebstrap can build any variant from this archive.
    every = ["?essential", "?priority(required)", "?priority(important)", *wanted]
    run_tool([*apt, "-y", "--download-only", "install", *every], f"the {suite} packages")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pool = part / f"pool-{suite}"
    pool.mkdir(parents=True)
    for deb in (state / "cache/archives").glob("*.deb"):
        os.link(deb, pool / deb.name)
    _write_index(suite, part, _release_fields(state, suite))
    run_tool([*apt, "clean"], "the download folder")
    part.rename(folder)


def _release_fields(state: Path, suite: str) -> dict[str, str]:
    """Return what the real archive says of itself (Origin, Suite, Version ...), so that hosts see the same."""
    for path in sorted((state / "lists").glob(f"*_dists_{suite}_*Release")):
        head = path.read_text(encoding="utf-8", errors="replace")
        found = dict(re.findall(r"^(Origin|Label|Suite|Version|Codename): (.+)$", head, re.M))
        if found.get("Codename") == suite:
            return found
    raise LabError(f"apt left no Release file of {suite}: the lab's archive would have no Suite")


def _write_index(suite: str, part: Path, fields: dict[str, str]) -> None:
    arch = run_tool(["dpkg", "--print-architecture"], "architecture").strip()
    index = part / "dists" / suite / "main" / f"binary-{arch}"
    index.mkdir(parents=True)
    env_cwd = ["env", "-C", str(part)]
    (index / "Packages").write_text(
        run_tool([*env_cwd, "apt-ftparchive", "packages", f"pool-{suite}"], "the index of the archive"),
        encoding="utf-8",
    )
    run_tool(["gzip", "-9nk", str(index / "Packages")], "the index of the archive")
    said = {**fields, "Architectures": arch, "Components": "main"}
    options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in said.items()]
    text = run_tool(["apt-ftparchive", *options, "release", str(part / "dists" / suite)], "the Release file")
    (part / "dists" / suite / "Release").write_text(text, encoding="utf-8")
