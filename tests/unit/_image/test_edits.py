# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: from the declaration and what stands in the guest to the changes of its files."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import edits, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.customize import Former, Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.files import Edit
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.fstab import Device, Devices
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import Link
from ansible_collections.hypervisor.kvm.tests.unit._image.volumes import Entry, changed, shot
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RrZXlmb3J0ZXN0c29ubHlub3RyZWFsa2V5MDAw me@here"
HASH = "$6$salt$hash"
ID = "0123456789abcdef0123456789abcdef"
UUID = "a1111111-2222-3333-4444-555555555555"
ROOT = Device(None, UUID, "root", None, None)
OLD = Device(1, UUID, "root", "0a1b2c3d-01", None)
SWAP = Device(5, "c1111111-2222-3333-4444-555555555555", None, "0a1b2c3d-05", None)
DEVICES = Devices(ROOT, "ext4", (ROOT,), (OLD, SWAP))
DEBIAN: dict[str, t.Any] = {
    "etc/shadow": Entry("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n", 0o640, 0, 42),
    "etc/hosts": "127.0.0.1\tlocalhost\n",
    "etc/hostname": "old\n",
    "etc/fstab": "# static\n/dev/sda1 / ext4 errors=remount-ro 0 1\n/dev/sda5 none swap sw 0 0\n",
    "etc/crypttab": "cryptswap /dev/sda5 /dev/urandom swap\n",
    "etc/initramfs-tools/conf.d/resume": "RESUME=/dev/sda5\n",
    "etc/default/grub": 'GRUB_CMDLINE_LINUX="resume=/dev/sda5"\n',
    "etc/machine-id": Entry("fedcba9876543210fedcba9876543210\n", 0o444),
    "etc/network/interfaces": "source /etc/network/interfaces.d/*\n",
    "etc/network/interfaces.d": None,
    "etc/ssh/sshd_config": "",
    "etc/ssh/ssh_host_rsa_key": "secret",
    "etc/ssh/ssh_host_rsa_key.pub": "public",
    "etc/ssh/ssh_host_ed25519_key": "secret",
    "etc/systemd/system/ssh.service.wants": None,
    "var/lib/dbus/machine-id": Link("/etc/machine-id"),
    "var/lib/systemd/random-seed": "seed",
    "root": Entry(None, 0o755),
    "usr/sbin/ifup": "x",
    "sbin": Link("usr/sbin"),
}
CUSTOMIZE: dict[str, t.Any] = {
    "hostname": "new.example",
    "ssh_authorized_keys": [KEY],
    "root_password": HASH,
    "machine_id": ID,
    "files": [{"path": "/srv/data/a", "content": "text", "mode": "0600", "owner": 7, "group": 8}],
    "interfaces": [{"name": "eth0", "dhcp4": True}],
}


def parse(**options: t.Any) -> spec.ImageSpec:
    return spec.parse({"path": "/srv/a.qcow2", "source": {"image": {"path": "/srv/base.img"}}, **options})


def planned(
    wanted: spec.ImageSpec,
    files: t.Mapping[str, t.Any],
    parts: t.Collection[str] = edits.PARTS,
    devices: Devices | None = None,
    former: t.Sequence[str] = (),
) -> list[Edit]:
    paths = [*edits.paths(wanted), *former]
    first = shot(files, paths)
    return edits.plan(
        wanted, shot(files, [*paths, *edits.more_paths(wanted, first)]), parts, devices, Former(tuple(former))
    )


def text(files: t.Mapping[str, t.Any], path: str) -> str:
    found = shot(files, [path]).text(path)
    assert found is not None, path
    return found


def test_a_guest_of_its_own() -> None:
    wanted = parse(customize=CUSTOMIZE)
    found = planned(wanted, DEBIAN)
    after = changed(DEBIAN, found)
    assert text(after, "/etc/hostname") == "new.example\n"
    assert text(after, "/etc/hosts") == "127.0.0.1\tlocalhost\n127.0.1.1\tnew.example new\n"
    assert text(after, "/etc/shadow") == f"root:{HASH}:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n"
    shadow = shot(after, ["/etc/shadow"]).at("/etc/shadow")
    assert (shadow.mode, shadow.group) == (0o640, 42)
    assert text(after, "/etc/machine-id") == f"{ID}\n"
    assert text(after, "/root/.ssh/authorized_keys") == f"{KEY}\n"
    assert "iface eth0 inet dhcp" in text(after, "/etc/network/interfaces")
    modes = {
        p: (s.mode, s.owner, s.group) for p in ("/root", "/root/.ssh", "/srv/data/a") for s in [shot(after, [p]).at(p)]
    }
    assert modes == {"/root": (0o755, 0, 0), "/root/.ssh": (0o700, 0, 0), "/srv/data/a": (0o600, 7, 8)}
    assert not [name for name in after if "ssh_host" in name]
    assert {"var/lib/dbus/machine-id", "var/lib/systemd/random-seed"}.isdisjoint(after)
    assert text(after, edits.HOST_KEYS_WANTED[0]) == text(after, edits.HOST_KEYS_UNIT)
    assert text(after, "/etc/fstab") == text(DEBIAN, "/etc/fstab")
    assert planned(wanted, after) == []


def test_what_was_not_declared_is_left_alone() -> None:
    for wanted in (parse(), parse(fstab="keep")):
        assert planned(wanted, DEBIAN, devices=DEVICES) == []
    found = planned(parse(customize={}), DEBIAN)
    assert {edit.path for edit in found} == {
        "/etc/machine-id", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed", "/etc/ssh/ssh_host_rsa_key",
        "/etc/ssh/ssh_host_rsa_key.pub", "/etc/ssh/ssh_host_ed25519_key", edits.HOST_KEYS_UNIT, edits.HOST_KEYS_WANTED[0],
    }  # fmt: skip
    assert text(changed(DEBIAN, found), "/etc/machine-id") == ""


def test_sshd_takes_keys_from_the_folder_of_root_only() -> None:
    files = {**DEBIAN, "root": Entry(None, 0o550), "root/.ssh": Entry(None, 0o755, 1000, 1000)}
    found = planned(parse(customize={"ssh_authorized_keys": [KEY]}), files)
    now = shot(changed(files, found), ["/root", "/root/.ssh"])
    assert [(s.mode, s.owner, s.group) for s in (now.at("/root"), now.at("/root/.ssh"))] == [
        (0o550, 0, 0),
        (0o700, 0, 0),
    ]


def test_what_is_declared_twice_is_the_file_that_is_declared() -> None:
    files = [
        {"path": "/root/.ssh/authorized_keys", "content": "mine\n"},
        {"path": "/etc/hosts", "content": "::1 all\n"},
        {"path": "/usr/sbin/tool", "content": "1"},
        {"path": "/sbin/tool", "content": "2", "mode": "0755"},
        {"path": "/etc/ssh/ssh_host_ed25519_key", "content": "key", "mode": "0600"},
    ]
    wanted = parse(customize={"ssh_authorized_keys": [KEY], "hostname": "new", "files": files})
    after = changed(DEBIAN, planned(wanted, DEBIAN))
    assert text(after, "/root/.ssh/authorized_keys") == "mine\n"
    assert text(after, "/etc/hosts") == "::1 all\n"
    tool = shot(after, ["/usr/sbin/tool"]).at("/usr/sbin/tool")
    assert (tool.content, tool.mode) == (b"2", 0o755)
    assert text(after, "/etc/ssh/ssh_host_ed25519_key") == "key"
    later = parse(customize={"hostname": "later", "files": files})
    assert [edit.path for edit in planned(later, after, ("customize.hostname",))] == ["/etc/hostname"]


def test_a_former_file_that_is_wanted_by_another_name_stays() -> None:
    wanted = parse(customize={"hostname": "old", "files": [{"path": "/usr/sbin/ifup", "content": "x"}]})
    gone = ("/sbin/ifup", "/etc/hostname", "/etc/crypttab")
    found = planned(wanted, DEBIAN, ("customize.files",), former=gone)
    assert [edit.path for edit in found if edit.action == "remove"] == ["/etc/crypttab"]


def test_no_new_keys_where_no_ssh_is() -> None:
    files = {name: content for name, content in DEBIAN.items() if not name.startswith("etc/ssh")}
    assert edits.HOST_KEYS_UNIT not in {edit.path for edit in planned(parse(customize={}), files)}
    assert planned(parse(customize={}), {"data": "no system at all"}) == []


def test_fstab_is_rewritten_with_all_that_waits_for_a_device() -> None:
    wanted = parse(fstab="rewrite", partition="root")
    found = planned(wanted, DEBIAN, devices=DEVICES)
    after = changed(DEBIAN, found)
    assert text(after, "/etc/fstab") == (
        "# static\nLABEL=root / ext4 errors=remount-ro 0 1\n#/dev/sda5 none swap sw 0 0\n"
    )
    assert text(after, "/etc/crypttab") == "#cryptswap /dev/sda5 /dev/urandom swap\n"
    assert text(after, "/etc/initramfs-tools/conf.d/resume") == "RESUME=none\n"
    assert text(after, "/etc/default/grub") == 'GRUB_CMDLINE_LINUX=""\n'
    assert {edit.action for edit in found} == {"write"}
    assert planned(wanted, after, devices=DEVICES) == []


def test_the_root_has_the_name_that_it_gets() -> None:
    for options, device, name in (
        ({"filesystem": {"label": "sys"}}, ROOT, "LABEL=sys"),
        ({}, ROOT, "LABEL=root"),
        ({}, Device(None, UUID, None, None, None), f"UUID={UUID}"),
        ({"filesystem": {"uuid": ID}}, Device(None, UUID, None, None, None), f"UUID={ID[:8]}-"),
    ):
        devices = Devices(device, "ext4", (device,), (OLD, SWAP))
        found = planned(parse(fstab="rewrite", partition="root", **options), DEBIAN, devices=devices)
        fstab = next(edit for edit in found if edit.path == "/etc/fstab")
        assert f"\n{name}" in (fstab.content or b"").decode()


def test_stated_lines_of_fstab_are_the_whole_file() -> None:
    lines = [{"src": "LABEL=x", "path": "/", "fstype": "ext4"}, {"src": "/dev/vdb", "path": "/data", "fstype": "xfs"}]
    found = planned(parse(fstab=lines), {**DEBIAN, "etc/fstab": Link("elsewhere")}, devices=DEVICES)
    assert [(edit.path, edit.replaces) for edit in found] == [("/etc/fstab", True)]
    assert (found[0].content or b"").decode().splitlines()[1:] == [
        "LABEL=x\t/\text4\tdefaults\t0 0", "/dev/vdb\t/data\txfs\tdefaults\t0 0"
    ]  # fmt: skip


PARTS = {
    "customize.hostname": {"/etc/hostname", "/etc/hosts"},
    "customize.ssh_authorized_keys": {"/root/.ssh", "/root/.ssh/authorized_keys"},
    "customize.root_password": {"/etc/shadow"},
    "customize.files": {"/srv", "/srv/data", "/srv/data/a"},
    "customize.machine_id": {"/etc/machine-id", "/var/lib/dbus/machine-id"},
}


@settings(max_examples=32)
@given(st.sets(st.sampled_from(sorted(PARTS))))
def test_only_the_stated_parts_are_put_into_place(parts: set[str]) -> None:
    found = planned(parse(customize=CUSTOMIZE), DEBIAN, parts)
    assert {edit.path for edit in found} == set().union(*(PARTS[part] for part in parts))
    assert planned(parse(customize=CUSTOMIZE), changed(DEBIAN, found), parts) == []


def test_the_machine_id_is_put_once() -> None:
    for parts in (edits.PARTS, ("customize",), ("customize.machine_id",)):
        found = planned(parse(customize={"machine_id": "reset"}), DEBIAN, parts)
        paths = [edit.path for edit in found]
        assert len(paths) == len(set(paths))
        assert text(changed(DEBIAN, found), "/etc/machine-id") == ""


def test_files_of_an_earlier_declaration_go() -> None:
    files = {**DEBIAN, "srv/old": "x", "srv/link": Link("/etc/hostname"), "srv/folder/x": "y"}
    former = ["/srv/old", "/srv/link", "/srv/folder", "/srv/never", "/none/x"]
    found = planned(parse(customize=CUSTOMIZE), files, ("customize.files",), None, former)
    gone = [edit.path for edit in found if edit.action == "remove"]
    assert gone == ["/srv/old", "/srv/link"]
    after = changed(files, found)
    assert text(after, "/etc/hostname") == "old\n"
    assert text(after, "/srv/folder/x") == "y"
    assert planned(parse(customize=CUSTOMIZE), files, ("customize.hostname",), None, former) == planned(
        parse(customize=CUSTOMIZE), files, ("customize.hostname",)
    )


def test_secrets_are_marked() -> None:
    found = {edit.path: edit.secret for edit in planned(parse(customize=CUSTOMIZE), DEBIAN)}
    assert found["/etc/shadow"]
    assert found["/srv/data/a"]
    assert not found["/etc/hostname"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"etc/shadow": "daemon:*:1::::::\n"}, "no /etc/shadow with the user root"),
        ({"etc/shadow": None}, "no /etc/shadow with the user root"),
        ({"etc/shadow": Link("/none")}, "no /etc/shadow with the user root"),
        ({"etc/hostname": None}, "/etc/hostname is a"),
        ({"etc/hosts": Link("/none")}, "/etc/hosts is no regular file"),
        ({"root": Link("/none")}, "/root is no folder there"),
        ({"root/.ssh": "x"}, "/root/.ssh is a file there"),
        ({"srv": "x"}, "/srv is no folder"),
        ({"srv": Link("/none")}, "/srv is no folder"),
        ({"etc/machine-id": None}, "/etc/machine-id is a"),
    ],
)
def test_what_is_in_the_way_is_named(files: dict[str, t.Any], message: str) -> None:
    with pytest.raises(KvmError) as caught:
        planned(parse(customize=CUSTOMIZE), {**DEBIAN, **files})
    assert message in caught.value.message
    assert caught.value.message.startswith("image /srv/a.qcow2: ")


def test_the_edited_file_may_be_a_link() -> None:
    files = {**DEBIAN, "etc/hosts": Link("/usr/share/hosts"), "usr/share/hosts": "127.0.0.1 localhost\n"}
    after = changed(files, planned(parse(customize={"hostname": "new"}), files))
    assert isinstance(after["etc/hosts"], Link)
    assert text(after, "/usr/share/hosts") == "127.0.0.1 localhost\n127.0.1.1\tnew\n"


NAMES = st.sampled_from([name for name in DEBIAN if name != "root"])
STANDS = st.sampled_from(
    [None, "", "x", b"\xff", Link("/none"), Link("/etc"), Link("/etc/hosts"), Entry("", kind="other")]
)


@settings(max_examples=60)
@given(
    st.dictionaries(NAMES, STANDS, max_size=4), st.sets(NAMES, max_size=8), st.booleans(), st.sampled_from(edits.PARTS)
)
def test_whatever_stands_there_it_is_done_once_or_named(
    odd: dict[str, t.Any], gone: set[str], rewrite: bool, left_out: str
) -> None:
    options = {name: value for name, value in CUSTOMIZE.items() if f"customize.{name}" != left_out}
    wanted = parse(customize=options, fstab="rewrite" if rewrite else None)
    files = {name: content for name, content in {**DEBIAN, **odd}.items() if name not in gone or name in odd}
    files = {name: files[name] for name in files if not any(name.startswith(f"{other}/") for other in odd)}
    try:
        found = planned(wanted, files, devices=DEVICES)
    except Damaged:  # a link to itself; callers name the image
        return
    except KvmError as exc:
        message = exc.message
    else:
        message = "image /srv/a.qcow2: "
        assert planned(wanted, changed(files, found), devices=DEVICES) == []
    assert message.startswith("image /srv/a.qcow2: ")


def test_hosts_and_the_own_name_are_one_change_of_one_file() -> None:
    wanted = parse(customize={"hostname": "web", "hosts": [{"address": "192.0.2.9", "names": ["db", "db.example"]}]})
    files = {**DEBIAN, "etc/hosts": "127.0.0.1 localhost\n192.0.2.1 db other # mine\n192.0.2.7\told\n::1 db\n"}
    paths = edits.paths(wanted)
    parts = ("customize.hostname", "customize.hosts")
    former = Former(hosts=(Host("192.0.2.7", ("old",)),))
    found = edits.plan(
        wanted, shot(files, [*paths, *edits.more_paths(wanted, shot(files, paths))]), parts, None, former
    )
    hosts = [edit for edit in found if edit.path == "/etc/hosts"]
    assert [edit.content for edit in hosts] == [
        b"127.0.0.1 localhost\n127.0.1.1\tweb\n192.0.2.1\tother\n::1 db\n192.0.2.9\tdb db.example\n"
    ]
