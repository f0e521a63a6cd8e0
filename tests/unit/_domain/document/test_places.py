# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents of domains: what one that takes the place of another has of it."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import carry_over, places


def domain(devices: str) -> t.Any:
    return _xml.parse(f"<domain><devices>{devices}</devices></domain>")


def placed(normal: str, declared: str, existing: str, *, others: bool = False, last: str | None = None) -> list[t.Any]:
    """The devices of ``normal`` (what libvirt makes of ``declared``); with ``others``, what is not declared is somebody else's."""
    root, there = domain(normal), domain(existing)
    own = carry_over.brought(root, there, domain(declared)) if others else None
    mine = own if others else {tag: set(range(len(nodes))) for tag, nodes in carry_over.devices(there).items()}
    places.places(root, domain(declared), there, mine, None if last is None else domain(last))
    return list(root.find("devices"))


def sounds(*pairs: tuple[str, int | None]) -> str:
    place = "<address type='pci' slot='{}'/>"
    return "".join(
        f"<sound model='{model}'>{'' if slot is None else place.format(slot)}</sound>" for model, slot in pairs
    )


def test_a_device_is_not_known_by_a_place_that_libvirt_has_found() -> None:
    declared = sounds(("es1370", None), ("ac97", None))
    existing = sounds(("es1370", 3), ("ac97", 4))
    found = placed(sounds(("es1370", 2), ("ac97", 3)), declared, existing)
    assert [(node.get("model"), node.find("address").get("slot")) for node in found] == [("es1370", "3"), ("ac97", "4")]
    alike = placed(sounds(("usb", 2), ("usb", 4)), sounds(("usb", None), ("usb", None)), sounds(("usb", 4), ("usb", 5)))
    assert [node.find("address").get("slot") for node in alike] == ["4", "5"]
    stated = placed(sounds(("usb", 4), ("usb", 5)), sounds(("usb", 4), ("usb", 5)), sounds(("usb", 5), ("usb", 4)))
    assert sorted(node.find("address").get("slot") for node in stated) == ["4", "5"]


def test_anothers_device_is_not_ones_own_because_of_a_place_that_libvirt_has_found() -> None:
    existing = sounds(("ac97", 4), ("es1370", 3))
    own = carry_over.brought(domain(sounds(("ac97", 3))), domain(existing), domain(sounds(("ac97", None))))
    assert own == {"sound": {0}}


def disks(*names: str) -> str:
    return "".join(f"<disk><target dev='{name}'/></disk>" for name in names)


@pytest.mark.parametrize(
    ("declared", "existing", "names"),
    [
        ("ba", "ab", "ab"),
        ("ca", "ab", "ca"),
        ("cab", "ab", "cab"),
        ("ba", "axb", "axb"),
        ("bca", "axb", "bcax"),
        ("cb", "xb", "xcb"),
        ("ab", "xyz", "xyzab"),
    ],
)
def test_the_order_is_that_of_what_exists_and_of_the_declaration_where_a_new_one_comes_in(
    declared: str, existing: str, names: str
) -> None:
    text = disks(*declared)
    found = placed(text, text, disks(*existing), others="x" in existing)
    assert "".join(node.find("target").get("dev") for node in found) == names


def serials(*ports: int) -> str:
    return "".join(f"<serial type='pty'><target port='{port}'/></serial>" for port in ports)


def test_serial_ports_are_in_the_order_of_the_declaration() -> None:
    found = placed(serials(1, 0), serials(1, 0), serials(0, 1))
    assert [node.find("target").get("port") for node in found] == ["1", "0"]


@pytest.mark.parametrize(
    ("device", "controller"),
    [
        ("<channel><target type='virtio' name='a'/>{}</channel>", "virtio-serial"),
        ("<disk><target dev='sda' bus='scsi'/>{}</disk>", "scsi"),
        ("<hostdev type='scsi'><source/>{}</hostdev>", "scsi"),
        ("<smartcard mode='host'>{}</smartcard>", "ccid"),
        ("<input type='mouse' bus='usb'>{}</input>", "usb"),
    ],
)
def test_a_place_goes_with_its_controller(device: str, controller: str) -> None:
    kind = "drive" if controller == "scsi" else controller
    place = f"<address type='{kind}' {'bus' if kind == 'usb' else 'controller'}='{{}}' port='3'/>"
    first, second = (f"<controller type='{controller}' index='{index}'/>" for index in (0, 1))
    existing = first + second + device.format(place.format(1))
    normal = device.format(place.format(0))
    gone = placed(first + normal, device.format(""), existing)
    assert len(gone) == 2
    assert gone[1].find("address") is None
    for kept in (
        placed(first + second + normal, second + device.format(""), existing),
        # Another's controller stays.
        placed(first + normal, device.format(""), existing, others=True),
    ):
        assert [node.tag for node in kept[:2]] == ["controller", "controller"]
        assert _xml.canonical(kept[2].find("address")) == _xml.canonical(_xml.parse(place.format(1)))
    stated = placed(first + device.format(place.format(1)), device.format(place.format(1)), existing)
    assert stated[1].find("address") is not None


def test_the_console_that_is_the_first_serial_port_is_left_to_libvirt_where_it_counts_from_it() -> None:
    console = "<console type='pty'><target type='serial' port='0'/></console>"
    virtio = "<console type='null'><target type='virtio' port='{}'/></console>"
    asked, declared = domain(serials(0) + console + virtio.format(0)), domain(virtio.format(0) + serials(0))
    assert not places.in_own_words(asked, asked, declared)
    assert len(asked[0]) == 3
    assert places.in_own_words(asked, domain(serials(0) + console + virtio.format(1)), declared)
    assert [(node.tag, node.get("type")) for node in asked[0]] == [("serial", "pty"), ("console", "null")]


def test_settings_of_a_pci_controller_are_no_place_of_it() -> None:
    root = "<controller type='pci' index='0' model='pci-root'>{}</controller>"
    port = "<controller type='pci' index='1' model='pcie-root-port'>{}</controller>"
    there = root.format("<target hotplug='off'/>") + port.format(
        "<model name='ioh3420'/><target chassis='7' port='0x9' hotplug='off'/>"
    )
    normal = root.format("") + port.format("<model name='pcie-root-port'/><target chassis='1' port='0x8'/>")
    plain = root.format("") + port.format("")
    found = placed(normal, plain, there, last=there)
    assert found[0].find("target") is None
    assert dict(found[1].find("target").attrib) == {"chassis": "7", "port": "0x9"}
    assert found[1].find("model").get("name") == "pcie-root-port"
    assert placed(normal, plain, there, last=plain)[1].find("model").get("name") == "ioh3420"


def test_what_libvirt_does_not_read_as_it_writes_is_said_as_it_was_declared() -> None:
    shmem = "<shmem name='a'><model type='x'/><size unit='{}'>{}</size><address type='pci' slot='{}'/></shmem>"
    asked, declared = domain(shmem.format("M", 0, 5)), domain("<shmem name='a'><size unit='KiB'>16</size></shmem>")
    assert places.in_own_words(asked, domain(shmem.format("M", 4, 6)), declared)
    assert _xml.canonical(asked) == _xml.canonical(domain(shmem.format("KiB", 16, 5)))
    assert not places.in_own_words(asked, asked, declared)
    # What is not declared has no other words.
    assert not places.in_own_words(domain(shmem.format("M", 0, 5)), domain(shmem.format("M", 4, 5)), domain(""))
