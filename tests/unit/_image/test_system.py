# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: which operating system a guest has, and which kernel of it is the newest."""

from __future__ import annotations

import platform
import random
import shlex
import shutil
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside import system
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.tree import Tree
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import Link
from ansible_collections.hypervisor.kvm.tests.unit._image.volumes import Entry, FakeVolume
from hypothesis import example, given
from hypothesis import strategies as st


def tree(files: dict[str, t.Any]) -> Tree:
    return Tree(FakeVolume(files))


def kernels(*names: str, **more: t.Any) -> list[tuple[str | None, str, str | None]]:
    """(version, kernel, initrd) of a /boot with these files, in no order, and of what they are."""
    shuffled = random.Random(1).sample(names, len(names))
    files = {**{f"boot/{name}": "x" for name in shuffled}, **more.get("files", {})}
    return [(kernel["version"], kernel["kernel"], kernel["initrd"]) for kernel in system.kernels(tree(files))]


ORDERED = [
    ["5.10.0-9-amd64", "5.10.0-10-amd64", "6.1~rc1", "6.1", "6.1.0-9-cloud-amd64", "6.1.0-18-cloud-amd64", "6.12"],
    [
        "5.14.0-70.el9.x86_64",
        "5.14.0-70.13.1.el9_0.x86_64",
        "5.14.0-70.22.1.el9_0.x86_64",
        "5.14.0-162.6.1.el9_1.x86_64",
    ],
    ["4.18.0-80.el8.x86_64", "4.18.0-80.1.2.el8_0.x86_64", "4.18.0-147.el8.x86_64"],
    ["6.8.9-100.fc38.x86_64", "6.8.10-100.fc38.x86_64", "6.8.10-300.fc40.x86_64", "6.9.0-1.fc40.x86_64"],
    ["6.1-rc1", "6.1-rc2", "6.1-rc10", "6.1", "6.1.1"],
    ["6.1.0-9-amd64", "6.1.0-10-amd64"],
    ["5.15.0-91-generic", "5.15.0-101-generic", "6.5.0-14-generic"],
    ["5.14.21-150500.55.39-default", "5.14.21-150500.55.7.1-default"][::-1],
    ["3.10.0-957.el7.x86_64", "3.10.0-1160.el7.x86_64", "3.10.0-1160.99.1.el7.x86_64"],
    ["6.6.9-arch1-1", "6.6.10-arch1-1", "6.7.0-arch3-1"],
    ["2.6.32-754.el6.x86_64", "2.6.32-754.2.1.el6.x86_64"],
]


@pytest.mark.parametrize("ordered", ORDERED)
def test_versions_are_ordered_as_people_count(ordered: list[str]) -> None:
    assert sorted(random.Random(1).sample(ordered, len(ordered)), key=system.version_key) == ordered
    found = kernels(*(f"vmlinuz-{version}" for version in ordered))
    assert [version for version, _kernel, _initrd in found] == ordered[::-1]


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg, which says what is newer, is not installed")
@pytest.mark.parametrize(
    "pair", [(old, new) for ordered in (ORDERED[0], ORDERED[5], ORDERED[6]) for old, new in zip(ordered, ordered[1:])]
)
def test_dpkg_orders_them_so_too(pair: tuple[str, str]) -> None:
    disks.run("dpkg", "--compare-versions", pair[0], "lt", pair[1])


VERSION = st.from_regex(
    r"[0-9]{1,2}(\.[0-9]{1,3}){1,3}(-rc[0-9]|~rc[0-9])?(-[0-9]{1,4}(\.[0-9]{1,2}){0,2})?(\.el[0-9](_[0-9])?|-[a-z]{1,5})?",
    fullmatch=True,
)


@given(VERSION, VERSION, VERSION)
def test_the_order_is_one(first: str, second: str, third: str) -> None:
    key = system.version_key
    assert key(first) < key(f"{first}.1") < key(f"{first}.2") < key(f"{first}.10")
    assert key(f"{first}-rc1") < key(first)
    assert (key(first) == key(second)) == (key(second) == key(first))
    if key(first) <= key(second) <= key(third):
        assert key(first) <= key(third)


@given(st.text())
@example("9" * 100000)
@example("1." * 50000)
@example("\u00b2")
@example("\u0661")
def test_any_name_has_an_order(text: str) -> None:
    assert system.version_key(text) <= system.version_key(text)
    kernels(f"vmlinuz-{text.replace('/', '')}" if text.strip("/") else "x")


def test_the_kernels_of_distributions() -> None:
    assert kernels(
        "vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64", "config-6.1.0-18-amd64", "System.map-6.1.0-18-amd64"
    ) == [("6.1.0-18-amd64", "/boot/vmlinuz-6.1.0-18-amd64", "/boot/initrd.img-6.1.0-18-amd64")]
    assert kernels(
        "vmlinuz-6.8.10-300.fc40.x86_64", "initramfs-6.8.10-300.fc40.x86_64.img", ".vmlinuz-6.8.10-300.fc40.x86_64.hmac"
    ) == [
        ("6.8.10-300.fc40.x86_64", "/boot/vmlinuz-6.8.10-300.fc40.x86_64", "/boot/initramfs-6.8.10-300.fc40.x86_64.img")
    ]
    # SUSE: the plain names are links to the newest.
    assert kernels(
        "vmlinuz-5.14.21-150500.53-default", "initrd-5.14.21-150500.53-default",
        files={"boot/vmlinuz": Link("vmlinuz-5.14.21-150500.53-default"), "boot/initrd": Link("initrd-5.14.21-150500.53-default")},
    ) == [("5.14.21-150500.53-default", "/boot/vmlinuz-5.14.21-150500.53-default", "/boot/initrd-5.14.21-150500.53-default")]  # fmt: skip
    # Alpine and Arch name them by their flavour.
    assert kernels("vmlinuz-virt", "initramfs-virt") == [("virt", "/boot/vmlinuz-virt", "/boot/initramfs-virt")]
    assert kernels("vmlinuz-linux", "initramfs-linux.img", "initramfs-linux-fallback.img") == [
        ("linux", "/boot/vmlinuz-linux", "/boot/initramfs-linux.img")
    ]
    assert kernels("vmlinuz", "initrd.img") == [(None, "/boot/vmlinuz", "/boot/initrd.img")]
    assert kernels("bzImage") == [(None, "/boot/bzImage", None)]
    assert kernels("grub/grub.cfg") == kernels() == []


def test_what_is_no_kernel_to_start_is_none() -> None:
    """Kernels for rescue, and what packages and people leave beside the real ones."""
    real = ("6.1.9", "/boot/vmlinuz-6.1.9", "/boot/initrd.img-6.1.9")
    others = (
        "vmlinuz-0-rescue-0123456789abcdef0123456789abcdef", "initramfs-0-rescue-0123456789abcdef0123456789abcdef.img",
        "vmlinuz-6.1.10.old", "vmlinuz-6.1.10.dpkg-bak", "vmlinuz-6.1.10.bak", "vmlinuz-6.1.10.sig", "vmlinux-6.1.10.gz",
        "vmlinux-5.14.21-default.xz", "vmlinuz-", "config-6.1.10", "initrd.img-6.1.9.old-dkms",
    )  # fmt: skip
    assert kernels("vmlinuz-6.1.9", "initrd.img-6.1.9", *others) == [real]


def test_of_the_same_version_the_one_that_a_boot_loader_loads_is_taken() -> None:
    wanted = [("6.1.0-9-amd64", "/boot/vmlinuz-6.1.0-9-amd64", None)]
    assert kernels("vmlinux-6.1.0-9-amd64", "vmlinuz-6.1.0-9-amd64") == wanted
    assert kernels("vmlinuz-6.1.0-9-amd64", files={"boot/kernel-6.1.0-9-amd64": ""}) == wanted
    assert kernels("vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-9-amd64.efi.signed") == wanted
    dangling = kernels("vmlinux-6.1", files={"boot/vmlinuz-6.1": Link("nowhere")})
    assert dangling == [("6.1", "/boot/vmlinux-6.1", None)]


def test_only_files_with_content_count_wherever_their_links_lead() -> None:
    files: dict[str, t.Any] = {
        "boot/vmlinuz-6.1": Link("/usr/lib/modules/6.1/vmlinuz"),
        "usr/lib/modules/6.1/vmlinuz": "x",
        "boot/initrd.img-6.1": Link("../../../../store/i"),
        "store/i": "x",
        "boot/vmlinuz-6.2": Link("/none"),
        "boot/initrd.img-6.2": "x",
        "boot/vmlinuz-6.3": "",
        "boot/vmlinuz-6.4": None,
        "boot/vmlinuz-6.5": Entry(b"x", kind="other"),
        "boot/vmlinuz-6.0": "x",
        "boot/initrd.img-6.0": Link("none"),
        "boot/initrd-6.0": "",
        "boot/initramfs-6.0.img": "x",
        "boot/vmlinuz-5.0": "x",
        "boot/initrd.img-5.0": "",
    }
    assert kernels(files=files) == [
        ("6.1", "/boot/vmlinuz-6.1", "/boot/initrd.img-6.1"),
        ("6.0", "/boot/vmlinuz-6.0", "/boot/initramfs-6.0.img"),
        ("5.0", "/boot/vmlinuz-5.0", None),
    ]


def test_the_newest_is_the_newest_with_an_initrd() -> None:
    found = system.kernels(tree({f"boot/{name}": "x" for name in ("vmlinuz-6.2", "vmlinuz-6.1", "initrd.img-6.1")}))
    for with_initrd in (True, False):
        newest = system.newest(found, with_initrd)
        assert newest is not None
        assert newest["version"] == "6.1"
    alone = system.kernels(tree({"boot/vmlinuz-6.2": "x", "boot/vmlinuz-6.1": "x"}))
    assert system.newest(alone, True) is None
    assert (system.newest(alone, False) or {})["version"] == "6.2"
    assert system.newest([], False) is None


def test_a_boot_folder_full_of_names_ends() -> None:
    found = system.kernels(tree({f"boot/vmlinuz-6.{number}": "x" for number in range(5000)}))
    assert len(found) == 64
    assert found[0]["version"] == "6.4999"


def test_links_in_a_circle_are_damage_not_an_end() -> None:
    with pytest.raises(Damaged, match="circle"):
        system.kernels(tree({"boot/vmlinuz-1": Link("vmlinuz-1")}))


OS_RELEASE = """# a comment
NAME="Debian GNU/Linux"
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"

VERSION_ID="12"
ID=debian
HOME_URL='https://www.debian.org/'
"""


def test_the_operating_system() -> None:
    wanted = {"id": "debian", "version": "12", "pretty_name": "Debian GNU/Linux 12 (bookworm)"}
    assert system.operating_system(tree({"etc/os-release": OS_RELEASE})) == wanted
    assert system.operating_system(tree({"usr/lib/os-release": OS_RELEASE})) == wanted
    link = {"etc/os-release": Link("../usr/lib/os-release"), "usr/lib/os-release": OS_RELEASE}
    assert system.operating_system(tree(link)) == wanted
    dangling = {"etc/os-release": Link("/none"), "usr/lib/os-release": OS_RELEASE}
    assert system.operating_system(tree(dangling)) == wanted
    both = {"etc/os-release": "ID=mine\n", "usr/lib/os-release": OS_RELEASE}
    assert system.operating_system(tree(both)) == {"id": "mine", "version": None, "pretty_name": None}
    assert system.operating_system(tree({})) is None
    assert system.operating_system(tree({"etc/os-release": ""})) == {"id": None, "version": None, "pretty_name": None}
    with pytest.raises(Damaged, match="more than"):
        system.operating_system(tree({"etc/os-release": "x" * (1 << 20)}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("'single \"quoted\"'", 'single "quoted"'),
        (r'"with \"quotes\" and \$ and \\ and \`"', 'with "quotes" and $ and \\ and `'),
        ("'no \\ escape'", "no \\ escape"),
        ('""', ""),
        ("  spaces  ", "spaces"),
        ("a=b", "a=b"),
    ],
)
def test_values_are_unquoted_as_a_shell_does(text: str, value: str) -> None:
    found = system.operating_system(tree({"etc/os-release": f"ID=x\nPRETTY_NAME={text}\n"}))
    assert found == {"id": "x", "version": None, "pretty_name": value}
    if '"' in text or "'" in text:
        assert shlex.split(text.replace("\\`", "`").replace("\\$", "$")) == [value]


@given(st.binary(max_size=200))
@example(b"PRETTY_NAME=\x1b]0;owned\x07\nID=\xff\xfe\nVERSION_ID=\xe2\x80\xae")
@example(b'ID=\'\nVERSION_ID="\nPRETTY_NAME="\\"')
def test_no_text_of_a_guest_reaches_a_terminal_unclean(text: bytes) -> None:
    found = system.operating_system(tree({"etc/os-release": text}))
    assert found is not None
    assert all(value is None or value.isprintable() for value in found.values())


def test_names_of_kernels_are_clean() -> None:
    [(version, kernel, initrd)] = kernels("vmlinuz-1\x1b[2J", "initrd.img-1\x1b[2J")
    assert (version, kernel, initrd) == ("1\\x1b[2J", "/boot/vmlinuz-1\\x1b[2J", "/boot/initrd.img-1\\x1b[2J")


@pytest.mark.skipif(
    not hasattr(platform, "freedesktop_os_release"), reason="Python before 3.10 does not read os-release"
)
def test_python_reads_the_same(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "os-release"
    path.write_text(OS_RELEASE)
    monkeypatch.setattr(platform, "_os_release_candidates", (str(path),), raising=True)
    monkeypatch.setattr(platform, "_os_release_cache", None, raising=True)
    told = platform.freedesktop_os_release()
    found = system.operating_system(tree({"etc/os-release": OS_RELEASE}))
    assert found == {"id": told["ID"], "version": told["VERSION_ID"], "pretty_name": told["PRETTY_NAME"]}
