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
    assert spec.parse(image(source={"image": {"path": BASE, "mode": "copy"}})).format == "raw"


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
    ({"path": "/srv/a.img"}, "exactly one of"),
    (image(source={"blank": True, "image": {"path": BASE}}), "exactly one of"),
    (image(source={"blank": False}), "exactly one of"),
    (image(source={"image": {}}), "needs the path"),
    (image(source={"image": {"path": "/srv/a.img"}}), "its own base"),
    (image(format="raw"), "always qcow2"),
    (image(filesystem={}), "file system of the base"),
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
    (blank(size="1MiB", filesystem={}), "4 MiB or more"),
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
    (image(customize={"root_password": "secret"}), "no crypt"),
    (image(customize={"root_password": "$6$a$b:0:0"}), "no crypt"),
    (image(customize={"machine_id": "uninitialized"}), "32 lower case"),
    (image(customize={"ssh_authorized_keys": ["/root/.ssh/id.pub"]}), "entry 1"),
    (image(customize={"files": [{"path": "etc/x", "content": ""}]}), "no absolute path"),
    (image(customize={"files": [{"path": "/etc/../x", "content": ""}]}), "no absolute path"),
    (image(customize={"files": [{"path": '/etc/"x', "content": ""}]}), "no absolute path"),
    (image(customize={"files": [{"path": "/etc/x"}]}), "no content"),
    (image(customize={"files": [{"path": "/x", "content": "", "mode": "9"}]}), "is no mode"),
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
