# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, network: which system a guest has, and what happens to the files that stand there."""

from __future__ import annotations

import posixpath
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import interfaces
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.network import (
    common,
    files,
    ifcfg,
    ifupdown,
    netplan,
    networkd,
    networkmanager,
    system,
)

WANTED = "/etc/systemd/system/multi-user.target.wants"
SCRIPTS = "/etc/sysconfig/network-scripts"

#: What the images of the distributions have (the paths that matter), and what sets up their network.
GUESTS: dict[str, tuple[str, list[str]]] = {
    "debian 11, cloud": (
        "ifupdown",
        ["/usr/sbin/ifup", "/etc/network/interfaces", "/etc/network/interfaces.d/", f"{WANTED}/networking.service"],
    ),
    "debian 12, cloud": (
        "netplan",
        ["/usr/sbin/netplan", "/etc/netplan/90-default.yaml", f"{WANTED}/systemd-networkd.service"],
    ),
    "debian, desktop": (
        "ifupdown",
        [
            *("/usr/sbin/ifup", "/etc/network/interfaces", f"{WANTED}/networking.service"),
            *("/usr/sbin/NetworkManager", f"{WANTED}/NetworkManager.service"),
        ],
    ),
    "debian, networkd by hand": (
        "networkd",
        ["/usr/sbin/ifup", "/etc/network/interfaces.save", f"{WANTED}/systemd-networkd.service"],
    ),
    "ubuntu 24.04, cloud, never started": (
        "netplan",
        ["/usr/sbin/netplan", "/etc/netplan/", f"{WANTED}/systemd-networkd.service"],
    ),
    "ubuntu 22.04, desktop": (
        "netplan",
        [
            *("/usr/sbin/netplan", "/etc/netplan/01-network-manager-all.yaml", "/usr/sbin/NetworkManager"),
            f"{WANTED}/NetworkManager.service",
        ],
    ),
    "ubuntu with ifupdown, netplan unused": (
        "ifupdown",
        ["/usr/sbin/netplan", "/etc/netplan/", "/sbin/ifup", "/etc/network/interfaces"],
    ),
    "centos 7": (
        "ifcfg",
        [
            *("/usr/sbin/NetworkManager", f"{WANTED}/NetworkManager.service", f"{SCRIPTS}/ifup-eth"),
            *(f"{SCRIPTS}/ifcfg-eth0", f"{SCRIPTS}/ifcfg-lo", "/usr/sbin/ifup"),
        ],
    ),
    "centos 7 without NetworkManager": ("ifcfg", [f"{SCRIPTS}/ifup-eth", f"{SCRIPTS}/ifcfg-lo", "/usr/sbin/ifup"]),
    "rocky 8": (
        "ifcfg",
        ["/usr/sbin/NetworkManager", f"{WANTED}/NetworkManager.service", f"{SCRIPTS}/ifcfg-eth0"],
    ),
    "alma 9": (
        "networkmanager",
        [
            *("/usr/sbin/NetworkManager", f"{WANTED}/NetworkManager.service", f"{SCRIPTS}/readme-ifcfg-rh.txt"),
            f"{SCRIPTS}/ifcfg-eth0",
        ],
    ),
    "rocky 10, fedora": ("networkmanager", ["/usr/sbin/NetworkManager", f"{WANTED}/NetworkManager.service"]),
    "fedora, one folder for programs": (
        "networkmanager",
        ["/usr/bin/NetworkManager", f"{WANTED}/NetworkManager.service"],
    ),
    "arch": ("networkd", [f"{WANTED}/systemd-networkd.service"]),
    "networkd by its other name": ("networkd", ["/etc/systemd/system/dbus-org.freedesktop.network1.service"]),
    "opensuse, wicked": ("", ["/usr/sbin/wicked", f"{WANTED}/wicked.service", "/usr/sbin/ifup"]),
    "opensuse, NetworkManager": (
        "networkmanager",
        ["/usr/sbin/wicked", "/usr/sbin/NetworkManager", f"{WANTED}/NetworkManager.service"],
    ),
    "alpine": ("ifupdown", ["/sbin/ifup", "/etc/network/interfaces", "/etc/runlevels/boot/networking"]),
    "nothing": ("", []),
}


class Tree:
    """A guest's files, path to text; a name with a slash at its end is a folder."""

    def __init__(self, texts: t.Mapping[str, str | None]) -> None:
        self.texts = dict(texts)

    def exists(self, path: str) -> bool:
        assert path in files.LOOK, path
        return any(name == path or name.startswith(f"{path}/") for name in self.texts)

    def names(self, folder: str) -> list[str]:
        assert folder in files.FOLDERS, folder
        below = {name[len(folder) + 1 :].split("/")[0] for name in self.texts if name.startswith(f"{folder}/")}
        return sorted(below - {""})

    def guest(self, announced: t.Collection[str]) -> files.Guest:
        def text(path: str) -> str | None:
            assert path in announced, path
            return self.texts.get(path)

        return files.Guest(self.exists, self.names, text)

    def plan(self, kind: str, entries: list[dict[str, t.Any]]) -> files.NetworkFiles:
        """Plans, carries out, and says that doing it again is nothing."""
        items = interfaces.parse("/srv/a", entries) or ()
        announced = files.paths(kind, items, self.guest(()))
        found = files.plan(kind, items, self.guest(announced))
        assert {*found.write, *found.remove, *found.move, *found.move.values()} <= set(announced)
        before = dict(self.texts)
        for source, target in found.move.items():
            assert target not in self.texts
            self.texts[target] = self.texts.pop(source)
        for path in found.remove:
            assert (self.texts.pop(path) or "").startswith(common.MARK)
        self.texts.update({path: text for path, (text, _mode) in found.write.items()})
        again = files.plan(kind, items, self.guest(files.paths(kind, items, self.guest(()))))
        assert (again.move, again.remove, again.write) == ({}, (), found.write)
        # Whatever is not ours is still there, under its name or another.
        kept = sorted(text or "" for text in self.texts.values() if not (text or "").startswith(common.MARK))
        somebodys = [text or "" for text in before.values() if not (text or "").startswith(common.MARK)]
        lost = [text for text in somebodys if text not in kept]
        assert all(path in found.write for path in before if before[path] in lost), lost
        return found


ETH0: list[dict[str, t.Any]] = [{"name": "eth0", "dhcp4": True, "nameservers": ["192.0.2.53"]}]
MAC: list[dict[str, t.Any]] = [{"name": "lan", "mac": "52:54:00:00:00:01", "dhcp4": True}]


@pytest.mark.parametrize("name", GUESTS)
def test_the_system_of(name: str) -> None:
    wanted, paths = GUESTS[name]
    tree = Tree(dict.fromkeys(paths))
    assert system.detect(tree.exists, tree.names) == (wanted or None)


def test_an_unknown_system_is_named() -> None:
    tree = Tree(dict.fromkeys(GUESTS["opensuse, wicked"][1]))
    assert system.unknown(tree.exists).startswith("wicked, and interfaces can be written for ifupdown, netplan")
    assert system.unknown(Tree({}).exists).startswith("nothing that is known here, and")


def test_netplan_puts_the_files_of_others_aside_once() -> None:
    cloud = "network: {version: 2, ethernets: {ens3: {dhcp4: true}}}\n"
    tree = Tree({"/etc/netplan/50-cloud-init.yaml": cloud, "/etc/cloud/cloud.cfg": "", "/etc/netplan/x.yaml.save": "x"})
    found = tree.plan(system.NETPLAN, ETH0)
    assert found.move == {"/etc/netplan/50-cloud-init.yaml": "/etc/netplan/50-cloud-init.yaml.disabled"}
    assert found.write[netplan.PATH][1] == 0o600
    assert found.write[files.CLOUD_FILE][0].splitlines()[1:] == ["network: {config: disabled}"]
    assert (found.folder, found.folder_mode) == ("/etc/netplan", 0o755)
    tree.texts["/etc/netplan/50-cloud-init.yaml"] = "network: {ethernets: {ens4: {dhcp4: true}}}"
    found = tree.plan(system.NETPLAN, ETH0)
    assert found.move == {"/etc/netplan/50-cloud-init.yaml": "/etc/netplan/50-cloud-init.yaml.disabled-2"}


def test_netplan_keeps_the_renderer_of_the_guest() -> None:
    both = "network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    ens3: {dhcp4: true}\n"
    tree = Tree({"/etc/netplan/00-installer-config.yaml": both})
    assert '\n  renderer: "NetworkManager"\n' in tree.plan(system.NETPLAN, ETH0).write[netplan.PATH][0]
    # The file that said it is aside, and the second time ours says it.
    assert '\n  renderer: "NetworkManager"\n' in tree.plan(system.NETPLAN, MAC).write[netplan.PATH][0]
    only = "# by the desktop\nnetwork:\n  version: 2\n  renderer: NetworkManager\n"
    for path in ("/etc/netplan/01-network-manager-all.yaml", "/usr/lib/netplan/00-network-manager-all.yaml"):
        found = Tree({path: only}).plan(system.NETPLAN, ETH0)
        assert found.move == {}
        assert "renderer" in found.write[netplan.PATH][0]
        assert ifupdown.RESOLV_CONF not in found.write


def test_the_resolver_is_written_where_nothing_else_does() -> None:
    for kind in (system.NETPLAN, system.NETWORKD, system.IFUPDOWN):
        assert "nameserver 192.0.2.53" in Tree({}).plan(kind, ETH0).write[ifupdown.RESOLV_CONF][0]
    for kind in (system.NETWORKMANAGER, system.IFCFG):
        assert ifupdown.RESOLV_CONF not in Tree({}).plan(kind, ETH0).write
    resolved = {"/etc/systemd/system/sysinit.target.wants/systemd-resolved.service": None}
    assert ifupdown.RESOLV_CONF not in Tree(resolved).plan(system.NETWORKD, ETH0).write


def test_networkd_puts_aside_only_what_would_win() -> None:
    tree = Tree(
        {
            "/etc/systemd/network/05-all.network": "[Match]\nType=ether\n[Network]\nDHCP=yes\n",
            "/etc/systemd/network/05-wg.network": "[Match]\nName=wg*\n",
            "/etc/systemd/network/06-eth.network": "[Match]\nName=ens* eth?\n",
            "/etc/systemd/network/07-other.network": "[Match]\nName=!wg0\n",
            "/etc/systemd/network/20-wired.network": "[Match]\nName=*\n",
        }
    )
    found = tree.plan(system.NETWORKD, ETH0)
    assert [posixpath.basename(path) for path in found.move] == ["05-all.network", "06-eth.network", "07-other.network"]
    assert set(found.move.values()) <= set(tree.texts)


def test_ifcfg_keeps_what_it_replaces() -> None:
    tree = Tree(
        {
            f"{SCRIPTS}/ifcfg-eth0": "DEVICE=eth0\nBOOTPROTO=dhcp\n",
            f"{SCRIPTS}/ifcfg-ens3": "DEVICE=ens3\n",
            f"{SCRIPTS}/ifcfg-ens3.bak": "DEVICE=ens3\nold\n",
            f"{SCRIPTS}/ifcfg-lo": "DEVICE=lo\n",
            f"{SCRIPTS}/route-eth0": "192.0.2.0/24 via 198.51.100.1\n",
            f"{SCRIPTS}/route-ens9": "192.0.2.0/24 via 198.51.100.2\n",
            f"{SCRIPTS}/disabled-ifcfg-ens3": "an older one\n",
        }
    )
    found = tree.plan(system.IFCFG, ETH0)
    assert {posixpath.basename(a): posixpath.basename(b) for a, b in found.move.items()} == {
        "ifcfg-eth0": "disabled-ifcfg-eth0",
        "ifcfg-ens3": "disabled-ifcfg-ens3-2",
        "route-eth0": "disabled-route-eth0",
    }
    assert found.write[f"{SCRIPTS}/ifcfg-eth0"][1] == 0o644


def test_ifupdown_keeps_the_work_of_others() -> None:
    usual = "# interfaces(5) file used by ifup(8) and ifdown(8)\nsource /etc/network/interfaces.d/*\n"
    assert Tree({ifupdown.INTERFACES: usual}).plan(system.IFUPDOWN, ETH0).move == {}
    tree = Tree(
        {
            ifupdown.INTERFACES: "auto ens3\niface ens3 inet dhcp\n",
            "/etc/network/interfaces.d/50-cloud-init": "auto eth0\niface eth0 inet dhcp\n",
            "/etc/network/interfaces.d/wg0": "iface wg0 inet manual\n",
        }
    )
    found = tree.plan(system.IFUPDOWN, ETH0)
    assert found.move == {
        "/etc/network/interfaces.d/50-cloud-init": "/etc/network/interfaces.d-50-cloud-init.disabled",
        ifupdown.INTERFACES: f"{ifupdown.INTERFACES}.disabled",
    }
    assert common.KERNEL_NAMES in found.write


def test_what_an_earlier_declaration_left_goes() -> None:
    entries = [*MAC, {"name": "lan.5", "id": 5, "link": "lan", "dhcp4": True}]
    tree = Tree({f"{networkd.FOLDER}/10-kvm-not-ours.network": "[Match]\nName=x\n"})
    for kind in (
        system.NETWORKD,
        system.NETWORKMANAGER,
        system.IFCFG,
        system.NETPLAN,
        system.IFUPDOWN,
        system.NETWORKD,
    ):
        tree.plan(kind, entries)
    tree.plan(system.NETWORKD, ETH0)
    ours = {path for path, text in tree.texts.items() if (text or "").startswith(common.MARK)}
    assert ours == {
        *(f"{networkd.FOLDER}/10-kvm-eth0.network", common.KERNEL_NAMES, ifupdown.RESOLV_CONF),
        # ifupdown's, without interfaces.
        ifupdown.INTERFACES,
    }
    assert (tree.texts[ifupdown.INTERFACES] or "").endswith("auto lo\niface lo inet loopback\n")
    assert f"{networkd.FOLDER}/10-kvm-not-ours.network" in tree.texts


def test_modes_and_names_of_connections() -> None:
    found = Tree({}).plan(system.NETWORKMANAGER, MAC)
    assert found.write[networkmanager.path("lan")][1] == 0o600
    assert (found.folder, found.folder_mode) == (networkmanager.FOLDER, 0o700)
    assert f"{common.LINKS}/10-kvm-lan.link" in found.write
    assert common.KERNEL_NAMES not in found.write


@pytest.mark.parametrize("kind", [system.NETPLAN, system.NETWORKD, system.NETWORKMANAGER, system.IFCFG])
def test_kernel_names_only_for_kernel_names(kind: str) -> None:
    assert common.KERNEL_NAMES in Tree({}).plan(kind, ETH0).write
    assert common.KERNEL_NAMES not in Tree({}).plan(kind, MAC).write
    # A base image that we made has the file; an interface called ens3 would not come to be with it.
    tree = Tree({common.KERNEL_NAMES: common.KERNEL_NAMES_LINK})
    assert tree.plan(kind, [{"name": "ens3", "dhcp4": True}]).remove == (common.KERNEL_NAMES,)
    with pytest.raises(InvalidSpec, match="two different schemes"):
        Tree({}).plan(kind, [{"name": "ens3"}, {"name": "eth0"}])


def test_names_that_a_guest_chose_do_no_harm() -> None:
    names = ["\n.yaml", "..", "10-kvm-\n.link", "ifcfg-", "ifcfg-\udcff", "x" * 300 + ".yaml", "99-default.link"]
    tree = Tree({f"{folder}/{name}": "]\n[\n[Match]\nName=" + "*a" * 200 for folder in files.FOLDERS for name in names})
    for kind in (system.NETPLAN, system.NETWORKD, system.NETWORKMANAGER, system.IFCFG, system.IFUPDOWN):
        tree.plan(kind, MAC)
    assert ifcfg.fights("ifcfg-x", ())
