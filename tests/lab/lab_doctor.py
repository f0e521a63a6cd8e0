# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what this machine lacks for the lab, by trying it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# tool -> the Debian package that brings it
TOOLS: dict[str, str] = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "modprobe": "kmod",
    "xz": "xz-utils",
    "zstd": "zstd",
    "ping": "iputils-ping",
    "ssh-keygen": "openssh-client",
    "ssh": "openssh-client",
    "mmdebstrap": "mmdebstrap",
    "apt-get": "apt",
    "apt-ftparchive": "apt-utils",
    "dpkg-deb": "dpkg",
    "cpio": "cpio",
    "gzip": "gzip",
    "libvirtd": "libvirt-daemon-system",
    "virtlogd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
    "nft": "nftables",
}
_MEMORY_KIB = 2 * 1024 * 1024
_DISK_BYTES = 4 * 1024**3

_TRY = """
set -e
mount --make-rprivate /
mount -t tmpfs lab /mnt
mkdir /mnt/upper /mnt/work /mnt/root /mnt/cgroup
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work lab /mnt/root
mount -t cgroup2 cgroup2 /mnt/cgroup
ip link set lo up
ip link add labtry0 type veth peer name labtry1
ip link add labtrybr type bridge
ip link set labtry0 master labtrybr
iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
echo 1 > /proc/sys/net/ipv4/ip_forward
test -r /proc/self/task/self/children || test -r /proc/$$/task/$$/children
"""


def _missing_tools() -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing: dict[str, list[str]] = {}
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=path) is None:
            missing.setdefault(package, []).append(tool)
    return [f"install the package {package} (for {', '.join(tools)})" for package, tools in sorted(missing.items())]


def _kernel() -> list[str]:
    known = Path("/proc/filesystems").read_text(encoding="ascii").split()
    problems = [
        f"the kernel has no {name} file system (load its module, or use another kernel)"
        for name in ("overlay", "tmpfs", "cgroup2")
        if name not in known
    ]
    problems += [
        f"there is no {path}: load the module {module}"
        for path, module in (("/dev/net/tun", "tun"),)
        if not Path(path).exists()
    ]
    if os.geteuid() != 0:
        return [*problems, "the lab makes namespaces and mounts: run it as root"]
    argv = [
        "unshare",
        "-m",
        "-n",
        "-u",
        "-i",
        "-p",
        "-C",
        "-f",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
        "--",
        "/bin/sh",
        "-c",
        _TRY,
    ]
    try:
        tried = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        return [*problems, f"a trial of the namespaces did not work: {error}"]
    if tried.returncode != 0:
        problems.append(f"a trial of the namespaces failed: {tried.stdout.strip()[-300:]}")
    return problems


def _room() -> list[str]:
    problems = []
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    if int(memory["MemAvailable"].split()[0]) < _MEMORY_KIB:
        problems.append("less than 2 GiB of memory is free: end something, or use a larger machine")
    cache = Path(os.environ.get("LAB_CACHE") or Path.home())
    while not cache.exists():
        cache = cache.parent
    if shutil.disk_usage(cache).free < _DISK_BYTES:
        problems.append(f"less than 4 GiB is free at {cache}, where the lab keeps its trees: set LAB_CACHE elsewhere")
    return problems


def problems() -> list[str]:
    """Return one sentence for each thing that the lab needs and this machine does not have."""
    return [*_missing_tools(), *_kernel(), *_room()]
