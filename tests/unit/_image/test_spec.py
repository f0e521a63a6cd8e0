# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: parameters to specification."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import spec
from hypothesis import given
from hypothesis import strategies as st

BASE = "/srv/base.img"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RrZXlmb3J0ZXN0c29ubHlub3RyZWFsa2V5MDAw me@here"


def image(**options: t.Any) -> dict[str, t.Any]:
    return {"path": "/srv/a.img", "source": {"image": {"path": BASE}}, **options}


def bootstrap(**options: t.Any) -> dict[str, t.Any]:
    return {"path": "/srv/a.img", "source": {"bootstrap": {}}, **options}


def blank(**options: t.Any) -> dict[str, t.Any]:
    return {"path": "/srv/a.img", "size": "1GiB", "source": {"blank": True}, **options}


def interface(**options: t.Any) -> dict[str, t.Any]:
    return image(customize={"interfaces": [{"name": "eth0", **options}]})


def test_defaults_of_a_bootstrap() -> None:
    found = spec.parse(bootstrap())
    assert (found.format, found.size, found.rebuild, found.timeout) == ("raw", None, "never", 1800)
    assert found.filesystem == spec.Filesystem("ext4", "root", None)
    assert found.bootstrap == spec.Bootstrap()
    assert not found.individual


def test_an_overlay_is_qcow2_and_a_copy_raw() -> None:
    assert spec.parse(image()).format == "qcow2"
    assert spec.parse(image()).is_overlay
    assert spec.parse(image(source={"image": {"path": BASE, "mode": "copy"}})).format == "raw"


@pytest.mark.parametrize(
    ("options", "image_format"),
    [
        ({"format": "raw"}, "raw"),
        ({"partition": "root"}, "raw"),
        ({"partition": "3", "format": "qcow2"}, "qcow2"),
        ({"sparsify": True}, "raw"),
        ({"shrink": True, "size": "1GiB"}, "raw"),
        ({"compress": "yes"}, "qcow2"),
        ({"compress": "zlib"}, "qcow2"),
    ],
)
def test_what_no_overlay_can_be_is_a_copy(options: dict[str, t.Any], image_format: str) -> None:
    found = spec.parse(image(**options))
    assert found.base == spec.BaseImage(BASE, "copy")
    assert not found.is_overlay
    assert found.format == image_format
    with pytest.raises(InvalidSpec, match=r"overlay|cannot be"):
        spec.parse(image(**options, source={"image": {"path": BASE, "mode": "overlay"}}))


def test_compress_no_leaves_an_overlay_one() -> None:
    found = spec.parse(image(compress="no"))
    assert found.is_overlay
    assert (found.format, found.compress) == ("qcow2", "none")


def test_without_a_source_it_is_changed_in_place() -> None:
    found = spec.parse({"path": "/srv/a.img", "filesystem": {"label": "x"}})
    assert found.in_place
    assert (found.format, found.size, found.filesystem) == (None, None, spec.Filesystem(None, "x", None))
    assert not spec.parse(blank()).in_place
    assert not spec.parse(image()).in_place
    assert not spec.parse({"path": "/srv/a.img", "state": "absent"}).in_place


def test_a_file_system_of_a_base_keeps_its_type() -> None:
    assert spec.parse(image(filesystem={})).filesystem == spec.Filesystem()
    assert spec.parse(image(filesystem={"label": "twelve-bytes-and-more"})).filesystem is not None
    assert spec.parse(blank(filesystem={})).filesystem == spec.Filesystem("ext4", None, None)


@pytest.mark.parametrize(("value", "meant"), [(None, None), ("root", "root"), ("1", 1), ("128", 128)])
def test_partitions(value: str | None, meant: int | str | None) -> None:
    assert spec.check_partition("/srv/a.img", value) == meant


def test_fstab_is_a_word_or_lines() -> None:
    assert spec.parse(image(fstab="keep")).fstab is None
    assert spec.parse(image(fstab="rewrite")).fstab == "rewrite"
    lines = [{"src": "LABEL=x", "path": "/", "fstype": "ext4", "passno": "1"}]
    assert spec.parse(image(fstab=lines)).fstab == (spec.Mount("LABEL=x", "/", "ext4", "defaults", 0, 1),)


def test_a_stated_customize_makes_a_guest_of_its_own() -> None:
    assert spec.parse(image(customize={})).individual
    assert not spec.parse(image()).individual


def test_absent_needs_no_source() -> None:
    assert spec.parse({"path": "/srv/a.img", "state": "absent"}).state == "absent"


def test_interfaces_get_a_name_by_their_mac() -> None:
    found = spec.parse(image(customize={"interfaces": [{"name": "eth0"}, {"mac": "52:54:00:AA:BB:CC"}]}))
    interfaces = found.customize.interfaces or ()
    assert [(item.name, item.mac) for item in interfaces] == [("eth0", None), ("net1", "52:54:00:aa:bb:cc")]


def test_keys_may_come_from_a_whole_file() -> None:
    found = spec.parse(image(customize={"ssh_authorized_keys": [f"# mine\n{KEY}\n\n{KEY}\n"]}))
    assert found.customize.ssh_authorized_keys == (KEY,)


@given(st.integers(min_value=1, max_value=2**50))
def test_sizes_are_whole_sectors(size: int) -> None:
    params = {"path": "/srv/a.img", "size": str(size), "source": {"blank": True}}
    if size % 512:
        with pytest.raises(InvalidSpec, match="whole number of sectors"):
            spec.parse(params)
    else:
        assert spec.parse(params).size == size


WRONG: list[tuple[dict[str, t.Any], str]] = [
    (image(path="a.img"), "no plain absolute path"),
    (image(path="/srv/../a.img"), "no plain absolute path"),
    (image(path="/srv/a.img/"), "no plain absolute path"),
    (image(path='/srv/a"b.img'), "no plain absolute path"),
    (image(path="/srv/a,b.img"), "no plain absolute path"),
    (image(path="/srv/a.img.kvm_image.json"), "records of this module"),
    (image(kernel="kernel"), "kernel 'kernel' is no plain"),
    ({"path": "/srv/a.img", "source": {}}, "exactly one of"),
    (image(source={"blank": True, "image": {"path": BASE}}), "exactly one of"),
    (image(source={"blank": False}), "exactly one of"),
    (image(source={"image": {}}), "needs the path"),
    (image(source={"image": {"path": "/srv/a.img"}}), "its own base"),
    (image(source={"image": {"path": BASE, "mode": "overlay"}}, format="raw"), "always qcow2"),
    (image(source={"image": {"path": BASE, "mode": "overlay"}}, sparsify=True), "sparsify cannot be done"),
    (image(format="raw", compress="zstd"), "cannot be compressed"),
    (image(partition="0"), "neither root nor a number"),
    (image(partition="129"), "neither root nor a number"),
    (image(partition="one"), "neither root nor a number"),
    (blank(partition="1"), "has no partitions"),
    (bootstrap(partition="root"), "has no partitions"),
    (blank(fstab="rewrite"), "nothing to customize"),
    (bootstrap(filesystem={"type": "xfs"}), "built on ext4 only"),
    (blank(filesystem={"type": "xfs"}, size="299MiB"), "300MiB or more"),
    (blank(filesystem={"type": "xfs", "label": "thirteen-bytes"}), "1 to 12"),
    (blank(filesystem={"type": "swap", "label": "sixteen-letters-"}), "1 to 15"),
    (image(filesystem={"label": "a" * 256}), "1 to 255"),
    (image(fstab="none"), "rewrite, keep, or a list"),
    (image(fstab=["/dev/vda / ext4"]), "rewrite, keep, or a list"),
    (image(fstab=[{"src": "a", "path": "/", "fstype": "ext4", "options": "ro"}]), "has no options"),
    (image(fstab=[{"src": "a", "path": "/", "fstype": "ext4", "passno": "-1"}]), "is to be a number"),
    (image(fstab=[{"src": "a", "path": "/", "fstype": "ext4"}] * 2), "exactly one entry for /"),
    ({"path": "/srv/a.img", "customize": {"packages": ["vim"]}}, "use them with source.bootstrap"),
    (image(size="0"), "sectors"),
    (image(size="many"), "is no size"),
    (image(mode="rw"), "is no mode"),
    (image(timeout=0), "impossible"),
    (image(customize={"packages": ["vim"]}), "use them with source.bootstrap"),
    (image(customize={"commands": ["true"]}), "use them with source.bootstrap"),
    (image(kernel=BASE), "different files"),
    (blank(customize={"hostname": "a"}), "nothing to customize"),
    (blank(kernel="/srv/k"), "nothing to customize"),
    ({"path": "/srv/a.img", "source": {"blank": True}}, "needs a size"),
    (blank(size="1MiB", filesystem={}), "4MiB or more"),
    (blank(filesystem={"label": "seventeen-letters"}), "label"),
    (blank(filesystem={"label": "a b"}), "label"),
    (blank(filesystem={"uuid": "x"}), "no UUID"),
    (bootstrap(source={"bootstrap": {"suite": "../x"}}), "no name of a suite"),
    (bootstrap(source={"bootstrap": {"packages": ["vim nano"]}}), "no name of a package"),
    (bootstrap(source={"bootstrap": {"packages": ["--x"]}}), "no name of a package"),
    (bootstrap(source={"bootstrap": {"mirrors": ["here"]}}), "neither a URI"),
    (bootstrap(source={"bootstrap": {"apt_options": ["a\nb"]}}), "more than one line"),
    (bootstrap(fstab=[]), "exactly one entry for /"),
    (bootstrap(fstab=[{"src": "a b", "path": "/", "fstype": "ext4"}]), "without spaces"),
    (image(customize={"hostname": "under_score"}), "no host name"),
    (image(customize={"hostname": "-a"}), "no host name"),
    (image(customize={"hosts": [{"address": "db", "names": ["a"]}]}), "no IP address"),
    (image(customize={"hosts": [{"address": "192.0.2.1"}]}), "has no names"),
    (image(customize={"hosts": [{"address": "::1", "names": ["a b"]}]}), "no host name"),
    (image(customize={"hosts": [{"address": "::1", "names": ["a"]}] * 2}), "::1 twice"),
    (image(customize={"root_password": "secret"}), "no crypt"),
    (image(customize={"root_password": "$6$a$b:0:0"}), "no crypt"),
    (image(customize={"machine_id": "uninitialized"}), "32 lower case"),
    (image(customize={"ssh_authorized_keys": ["/root/.ssh/id.pub"]}), "entry 1"),
    (image(customize={"files": [{"path": "etc/x", "content": ""}]}), "no absolute path"),
    (image(customize={"files": [{"path": "/etc/../x", "content": ""}]}), "no absolute path"),
    (image(customize={"files": [{"path": '/etc/"x', "content": ""}]}), "no absolute path"),
    (image(customize={"files": [{"path": "/etc/x"}]}), "no content"),
    (image(customize={"files": [{"path": "/x", "content": "", "mode": "9"}]}), "is no mode"),
    (image(customize={"files": [{"path": "/x", "content": "", "mode": "420"}]}), "quote it"),
    (image(customize={"files": [{"path": f"/{'n' * 256}", "content": ""}]}), "is too long"),
    (image(customize={"files": [{"path": "/d" * 2048, "content": ""}]}), "is too long"),
    (image(customize={"files": [{"path": "/x/y", "content": ""}, {"path": "/x", "content": ""}]}), "as a folder"),
    (image(customize={"hostname": f"{'a' * 60}.{'b' * 60}"}), "too long"),
    (image(customize={"machine_id": "0" * 32}), "not all 0"),
    (image(customize={"ssh_authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ a\0b"]}), "no public SSH key"),
    (image(customize={"files": [{"path": "/x", "content": "", "owner": -1}]}), "numeric id"),
    (image(customize={"files": [{"path": "/x", "content": "a"}, {"path": "/x", "content": "b"}]}), "twice"),
    (image(customize={"interfaces": [{}]}), "needs a name"),
    (interface(name="eth0 up"), "needs a name"),
    (interface(name="lo"), "needs a name"),
    (interface(mac="41135085296"), "no MAC address"),
    (interface(mtu=1), "MTU"),
    (interface(addresses=["192.0.2.1"]), "with a prefix"),
    (interface(addresses=["192.0.2.1/33"]), "with a prefix"),
    (interface(addresses=["192.0.2.1/24"], dhcp4=True), "not both"),
    (interface(addresses=["2001:db8::1/64"], dhcp6=True), "not both"),
    (interface(addresses=["192.0.2.2/24"], gateway4="198.51.100.1"), "none of the subnets"),
    (interface(gateway4="192.0.2.1"), "none of the subnets"),
    (interface(addresses=["2001:db8::2/64"], gateway4="2001:db8::1"), "no IPv4"),
    (interface(nameservers=["dns.example"]), "no IP address"),
    (interface(search=["a b"]), "no domain name"),
    (interface(routes=[{"to": "192.0.2.1/24", "via": "192.0.2.1"}]), "no network"),
    (interface(routes=[{"to": "198.51.100.0/24", "via": "2001:db8::1"}]), "another IP version"),
    (interface(routes=[{"to": "default"}]), "no IP address"),
    (image(customize={"interfaces": [{"name": "a"}, {"name": "a"}]}), "two interfaces with the name"),
]


@pytest.mark.parametrize(("params", "message"), WRONG)
def test_wrong_values_are_named(params: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        spec.parse(params)
    assert message in caught.value.message
    assert caught.value.message.startswith("image ")


def together(*params: dict[str, t.Any]) -> None:
    spec.check_together([spec.parse(item) for item in params])


def test_two_images_may_not_write_one_file() -> None:
    with pytest.raises(InvalidSpec, match="both write /srv/k"):
        together(image(path="/srv/1.img", kernel="/srv/k"), image(path="/srv/2.img", kernel="/srv/k"))


def test_a_base_may_not_go_in_the_same_call() -> None:
    with pytest.raises(InvalidSpec, match="absent in the same call"):
        together(image(), {"path": BASE, "state": "absent"})


def test_a_circle_of_bases_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="back to itself"):
        together(
            {"path": "/srv/1", "source": {"image": {"path": "/srv/2"}}},
            {"path": "/srv/2", "source": {"image": {"path": "/srv/1"}}},
        )


def test_depth_is_the_order_of_making() -> None:
    chain = [bootstrap(path=BASE), image(path="/srv/1"), image(path="/srv/2", source={"image": {"path": "/srv/1"}})]
    present = {item["path"]: spec.parse(item) for item in chain}
    assert [spec.depth(item, present) for item in present.values()] == [0, 1, 2]
