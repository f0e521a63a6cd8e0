# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny guest as a libvirt domain, and how to see from a host that it lives."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

from lab_errors import LabError
from lab_host import Host

HERE = Path(__file__).resolve().parent
FOLDER = "/var/lib/libvirt/images"


def build_tiny(folder: Path, suite: str = "trixie") -> Path:
    """Build kernel and initrd of the tiny guest into ``folder`` and return it."""
    subprocess.run([str(HERE / "tiny_guest.sh"), str(folder), suite], check=True, timeout=600)
    return folder


def tiny_domain(name: str, source: dict[str, str], cmdline: str = "", folder: str = FOLDER) -> str:
    """Return the XML of a domain that boots the tiny guest.

    ``source`` is the attribute of its interface's source (``{"bridge": "br0"}`` or ``{"network": "lan"}``), ``cmdline``
    is added to the kernel's (``lab.ip=10.0.0.5/24 lab.gw=10.0.0.1``), ``folder`` holds kernel and initrd on the host.
    """
    domain = ElementTree.Element("domain", type="qemu")
    ElementTree.SubElement(domain, "name").text = name
    ElementTree.SubElement(domain, "memory", unit="MiB").text = "96"
    ElementTree.SubElement(domain, "vcpu").text = "1"
    system = ElementTree.SubElement(domain, "os")
    ElementTree.SubElement(system, "type", arch="x86_64", machine="q35").text = "hvm"
    ElementTree.SubElement(system, "kernel").text = f"{folder}/kernel"
    ElementTree.SubElement(system, "initrd").text = f"{folder}/initrd"
    ElementTree.SubElement(system, "cmdline").text = f"console=ttyS0 quiet lab.name={name} {cmdline}".strip()
    features = ElementTree.SubElement(domain, "features")
    ElementTree.SubElement(features, "acpi")
    devices = ElementTree.SubElement(domain, "devices")
    interface = ElementTree.SubElement(devices, "interface", type=next(iter(source)))
    ElementTree.SubElement(interface, "source", source)
    ElementTree.SubElement(interface, "model", type="virtio")
    serial = ElementTree.SubElement(devices, "serial", type="file")
    ElementTree.SubElement(serial, "source", path=f"/var/log/libvirt/{name}-console.log")
    ElementTree.SubElement(devices, "memballoon", model="none")
    return ElementTree.tostring(domain, encoding="unicode")


def wait_echo(host: Host, address: str, timeout: float = 90) -> float:
    """Wait until the guest at ``address`` echoes a line to the host; return the seconds it took."""
    begin = time.monotonic()
    code = (
        "import socket, sys\n"
        "s = socket.create_connection((sys.argv[1], 7), 2); s.settimeout(2); s.sendall(b'lab\\n')\n"
        "sys.exit(0 if s.recv(4) == b'lab\\n' else 1)\n"
    )
    while time.monotonic() - begin < timeout:
        if host.run(["python3", "-c", code, address], check=False).returncode == 0:
            return time.monotonic() - begin
        time.sleep(0.2)
    raise LabError(f"no echo from the guest at {address} within {timeout:.0f} s, seen from host {host.name}")
