# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: options to specifications, and the sentences that refuse wrong ones."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import Wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

MIB = 1024 * 1024


def parse(**options: t.Any) -> spec.DomainSpec:
    return spec.parse({"name": "web", **options})


def test_nothing_stated_is_nothing_defined() -> None:
    bare = parse()
    assert bare == spec.DomainSpec("web")
    assert not bare.definition


def test_state_options_are_no_definition() -> None:
    stated = parse(state="stopped", autostart=True, stop_timeout=5, force_stop=True, remove_disks=["vda"], type="auto")
    assert not stated.definition
    assert (stated.stop_timeout, stated.force_stop, stated.remove_disks) == (5.0, True, ("vda",))


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512 * MIB), ("2GiB", 2048 * MIB), ("2GB", -(-2_000_000_000 // 1024) * 1024), ("1048577B", MIB + 1024)],
)
def test_memory_has_units_a_bare_number_is_mib_and_libvirt_counts_whole_kib(text: str, size: int) -> None:
    assert parse(memory=text).definition.scalars == {"memory": size}


def test_nested_options_get_dotted_names_and_empty_text_is_none() -> None:
    stated = parse(os={"kernel": "/k", "cmdline": "", "boot": []}, title="", events={"crash": "restart"})
    assert stated.definition.scalars == {"os.kernel": "/k", "events.crash": "restart"}


def test_devices_state_only_what_was_stated() -> None:
    stated = parse(
        disks=[{"target": "vda", "source": "/a", "bus": None}, {"target": "sda", "device": "cdrom"}],
        interfaces=[{"source": "lan", "mac": "52:54:00:AA:00:01"}],
        serials=[{"path": "/log"}, {}],
        channels=[{}],
        rng={},
    )
    assert stated.definition.devices == {
        "disks": ({"target": "vda", "source": "/a", "type": "file"}, {"target": "sda", "device": "cdrom"}),
        "interfaces": ({"type": "network", "source": "lan", "mac": "52:54:00:aa:00:01"},),
        "serials": ({"path": "/log", "type": "file", "port": 0}, {"type": "pty", "port": 1}),
        "channels": ({"name": "org.qemu.guest_agent.0", "type": "unix", "target_type": "virtio"},),
        "rng": ({"model": "virtio", "backend": "random", "source": "/dev/urandom"},),
    }


def test_the_primary_video_comes_first_as_libvirt_has_it() -> None:
    videos = [{"model": "virtio"}, {"model": "vga", "primary": True}, {"model": "bochs", "primary": False}]
    found = spec.parse({"name": "web", "videos": videos}).definition.devices["videos"]
    assert [video["model"] for video in found] == ["vga", "virtio", "bochs"]


def test_a_source_in_dev_is_a_block_device() -> None:
    assert parse(disks=[{"target": "vda", "source": "/dev/vg/a"}]).definition.devices["disks"][0]["type"] == "block"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "a/b"}, "no slashes"),
        ({"name": "\udcff"}, "no slashes"),
        ({"name": ".."}, "no slashes"),
        ({"name": "ä" * 125}, "no more than 248 bytes"),
        ({"memory": "much"}, "is no size"),
        ({"memory": "1B"}, "too small"),
        ({"memory": 1, "current_memory": 2}, "current_memory"),
        ({"vcpus": 0}, "1 or more"),
        ({"vcpus": 1, "current_vcpus": 2}, "which is the maximum"),
        ({"uuid": "x"}, "is no UUID"),
        ({"description": "a\x07"}, "control characters"),
        ({"description": f"a\x07{'b' * 999}"}, r"'a\\x07b{1,99}\.\.\.' has control characters"),
        ({"xml": "<domain type='qemu'>\ud800</domain>"}, "control characters"),
        ({"xml": "<domain type='qemu'>\x01</domain>"}, "xml is no well-formed XML"),
        ({"disks": [{"target": "vda", "source": "/a\x00"}]}, "control characters"),
        ({"title": "a\nb"}, "one line"),
        ({"os": {"initrd": "/i"}}, "go with os.kernel"),
        ({"os": {"kernel": "k"}}, "absolute path"),
        ({"cpu": {"mode": "custom"}}, "needs a cpu.model"),
        ({"cpu": {"mode": "maximum", "model": "x"}}, "goes with cpu.mode custom"),
        ({"disks": [{"source": "/a"}]}, "needs a target"),
        ({"disks": [{"target": "nvme0", "source": "/a"}]}, "needs a target"),
        ({"disks": [{"target": "vda"}]}, "has no source"),
        ({"disks": [{"target": "vda", "source": "a"}]}, "absolute path"),
        ({"disks": [{"target": "sda", "device": "cdrom", "readonly": False}]}, "cannot be written"),
        ({"disks": [{"target": "vda", "source": "/a"}] * 2}, "two of disks have the target vda"),
        ({"interfaces": [{}]}, "interface 1 needs a source"),
        ({"interfaces": [{"source": "lan", "mac": "1"}]}, "no MAC address"),
        ({"interfaces": [{"source": "lan", "mac": "ff:ff:ff:ff:ff:ff"}]}, "multicast"),
        ({"graphics": [{"port": 80}]}, "5900 to 65535"),
        ({"graphics": [{"port": 5901, "autoport": True}]}, "state one of them"),
        ({"graphics": [{"autoport": False}]}, "needs a port"),
        ({"graphics": [{"listen": "1.2.3"}]}, "no IP address"),
        ({"graphics": [{"password": "123456789"}]}, "at most 8"),
        ({"graphics": [{}, {}]}, "two of graphics"),
        ({"serials": [{"type": "file"}]}, "needs a path"),
        ({"serials": [{"type": "pty", "path": "/a"}]}, "libvirt chooses the path"),
        ({"serials": [{"port": 4, "path": "/a"}]}, "0 to 3"),
        ({"serials": [{"path": "a"}]}, "absolute"),
        ({"channels": [{}, {}]}, "two of channels"),
        ({"rng": {"backend": "builtin", "source": "/dev/random"}}, "has no source"),
        ({"wait_for": ["luck"]}, "knows ip, ssh, agent, cloud_init and console"),
        ({"wait_timeout": -1}, "0 or more"),
        ({"stop_timeout": -1}, "0 or more"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(options: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as refused:
        parse(**options)
    assert refused.value.message.startswith("domain ")


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, Wait()),
        ([], Wait()),
        (["agent", "ssh"], Wait(agent=True, ssh=True)),
        ("agent, ssh", Wait(agent=True, ssh=True)),
        ({"agent": None, "ssh": False}, Wait(agent=True)),
        ({"ssh": {"address": "192.0.2.1", "port": "2222"}}, Wait(ssh=True, ssh_address="192.0.2.1", ssh_port=2222)),
    ],
)
def test_waits_are_a_list_or_a_dictionary(value: t.Any, wait: Wait) -> None:
    assert parse(wait_for=value).wait == wait


@pytest.mark.parametrize(
    ("one", "says"),
    [
        ({"uuid": "11111111-2222-3333-4444-555555555555"}, "uuid"),
        ({"interfaces": [{"source": "lan", "mac": "52:54:00:00:00:01"}]}, "MAC address"),
        ({"disks": [{"target": "vda", "source": "/a"}]}, "disk /a"),
    ],
)
def test_domains_of_one_call_do_not_share_what_only_one_can_have(one: dict[str, t.Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=f"domains web and db: both have the {says}"):
        spec.check_together([parse(**one), parse(**{**one, "name": "db"})])
    spec.check_together([parse(**one), parse(**{**one, "name": "db", "state": "absent"})])


def test_read_only_disks_may_be_shared() -> None:
    disks = [
        {"target": "sda", "source": "/iso", "device": "cdrom"},
        {"target": "vdb", "source": "/b", "readonly": True},
    ]
    spec.check_together([parse(disks=disks), parse(name="db", disks=disks)])


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, []),
        ({"type": "qemu", "os": {"type": "hvm"}}, []),
        ({"type": "xen", "os": {"type": "hvm"}}, []),
        ({"type": "xen", "os": {"type": "linux"}}, ["xen"]),
        ({"type": "lxc"}, ["lxc"]),
        ({"os": {"type": "exe"}}, ["lxc"]),
        ({"type": "openvz", "os": {"type": "exe"}}, ["openvz"]),
    ],
)
def test_a_console_is_what_it_is_in_such_a_domain(options: dict[str, t.Any], kinds: list[str]) -> None:
    devices = parse(consoles=[{}, {"target_type": "virtio"}], **options).definition.devices
    assert [console["target_type"] for console in devices["consoles"]] == [*kinds, "virtio"]
    # Where there are serial ports it is one of them.
    assert len(devices.get("serials", ())) == 1 - len(kinds)


def test_a_model_of_a_processor_says_the_mode() -> None:
    scalars = spec.parse({"name": "web", "cpu": {"model": "Penryn"}}).definition.scalars
    assert scalars == {"cpu.mode": "custom", "cpu.model": "Penryn"}
