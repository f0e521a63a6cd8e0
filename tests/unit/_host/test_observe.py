# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host: the decision about acceleration, and libvirt's documents about it."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._host import observe

CAPABILITIES = """
<capabilities>
  <host><cpu><arch>x86_64</arch></cpu></host>
  <guest><os_type>hvm</os_type><arch name='x86_64'>
    <machine maxCpus='255'>pc-i440fx-7.2</machine>
    <machine canonical='pc-i440fx-7.2' maxCpus='255'>pc</machine>
    <domain type='qemu'/><domain type='kvm'/>
  </arch></guest>
  <guest><os_type>hvm</os_type><arch name='aarch64'><domain type='qemu'/></arch></guest>
</capabilities>
"""
ABILITIES = """
<domainCapabilities>
  <machine>pc-q35-7.2</machine><vcpu max='288'/>
  <devices>
    <disk supported='yes'><enum name='bus'><value>virtio</value><value>sata</value></enum></disk>
    <tpm supported='no'><enum name='model'><value>tpm-tis</value></enum></tpm>
  </devices>
</domainCapabilities>
"""


@pytest.mark.parametrize(
    ("arch", "offered", "device", "flags", "usable", "says"),
    [
        ("x86_64", True, None, {"sse", "vmx"}, True, "works for x86_64"),
        ("x86_64", True, None, {"svm"}, True, "works"),
        ("x86_64", True, None, {"sse"}, False, "neither vmx nor svm"),
        ("x86_64", True, None, None, True, "works"),
        ("aarch64", True, None, {"asimd"}, True, "works for aarch64"),
        ("x86_64", False, "there is no /dev/kvm", {"vmx"}, False, "there is no /dev/kvm"),
        ("x86_64", False, None, {"vmx"}, False, "libvirt offers no domains of type kvm"),
        ("x86_64", True, "/dev/kvm may not be opened by this user", {"vmx"}, False, "may not be opened"),
    ],
)
def test_acceleration(
    arch: str, offered: bool, device: str | None, flags: set[str] | None, usable: bool, says: str
) -> None:
    decided = observe.decide_acceleration(arch, offered, device, flags)
    assert (decided.usable, decided.type) == (usable, "kvm" if usable else "qemu")
    assert says in decided.reason
    assert decided.reason.endswith(".")


def test_capabilities() -> None:
    arch, guests = observe.parse_capabilities(CAPABILITIES)
    assert arch == "x86_64"
    machines = {"pc-i440fx-7.2": "pc-i440fx-7.2", "pc": "pc-i440fx-7.2"}
    assert guests["x86_64"] == observe.GuestArch("x86_64", ("qemu", "kvm"), machines)
    assert guests["aarch64"].types == ("qemu",)


def test_domain_capabilities_count_what_is_supported() -> None:
    able = observe.parse_domain_capabilities(ABILITIES)
    assert able == observe.DomainAbilities("pc-q35-7.2", {"disk.bus": ("virtio", "sata"), "tpm.model": ()}, 288)


@pytest.mark.parametrize(
    ("uri", "local"),
    [("qemu:///system", True), ("qemu+unix:///system?socket=/x", True), ("qemu+ssh://root@host/system", False)],
)
def test_whose_files_they_are(uri: str, local: bool) -> None:
    assert observe.is_local(uri) is local


def test_space_of_a_folder_that_is_to_come(tmp_path: pathlib.Path) -> None:
    here, there = observe.space(str(tmp_path)), observe.space(str(tmp_path / "a" / "b"))
    assert (here["exists"], there["exists"]) == (True, False)
    stats = os.statvfs(tmp_path)
    assert here["size"] == there["size"] == stats.f_blocks * stats.f_frsize


def test_versions() -> None:
    assert observe.version_text(9000000) == "9.0.0"
    assert observe.version_text(7002022) == "7.2.22"
