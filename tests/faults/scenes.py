# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the kill tests do to images: each scenario with the files that it begins with, its task, and how it must end."""

from __future__ import annotations

import dataclasses
import os
import typing as t

import disks
from disks import MIB, Looked, cat, sound, tag
from ground import run
from tasks import task

Args = dict[str, t.Any]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKtests key@tests"
HOSTNAME = "after"
FILES = [
    {"path": "/etc/motd", "content": "welcome\n"},
    {"path": "/srv/new/deep", "content": "x" * 70000, "mode": "0600"},
]
CUSTOMIZE: Args = {"hostname": HOSTNAME, "files": FILES, "ssh_authorized_keys": [KEY]}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """``prepare`` makes the files of a folder, ``args`` are the options of the task, ``verify`` asserts the end.

    ``kept`` are files that the task must never change, ``makes`` those that it may only put there complete, ``changes``
    the image that it changes in place.
    """

    name: str
    prepare: t.Callable[[str], None]
    args: t.Callable[[str], Args]
    verify: t.Callable[[str], None]
    kept: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    changes: str | None = None
    needs: tuple[str, ...] = ()


class Seeds:
    """The disks that scenarios begin with, made once."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder)
        tree = disks.tree(f"{folder}/tree")
        self.disk = disks.installed(f"{folder}/disk.img", tree)
        self.fs = disks.ext4(f"{folder}/fs.img", 200 * MIB, tree)
        self.packed = disks.to_qcow2(self.disk, f"{folder}/disk.qcow2", "-c")
        self.plain = disks.to_qcow2(self.disk, f"{folder}/plain.qcow2")

    def copy(self, source: str, target: str) -> str:
        """A copy with the same holes and times."""
        run("cp", "--sparse=always", "--preserve=mode,timestamps", source, target)
        return target


# --- how it must end -------------------------------------------------------------------------------------------------


def customized(path: str) -> None:
    """An ext4 in a file has what CUSTOMIZE says, and what was there before."""
    sound(path)
    assert cat(path, "/etc/hostname") == f"{HOSTNAME}\n", cat(path, "/etc/hostname")
    assert f"127.0.1.1 {HOSTNAME}" in cat(path, "/etc/hosts") or f"127.0.1.1\t{HOSTNAME}" in cat(path, "/etc/hosts")
    assert cat(path, "/etc/motd") == "welcome\n"
    assert cat(path, "/srv/new/deep") == "x" * 70000
    assert cat(path, "/root/.ssh/authorized_keys") == f"{KEY}\n"
    untouched(path)


def untouched(path: str) -> None:
    """The data of the guest is as it was."""
    # The first lines of a big file, and the whole of a known one.
    assert "6.1.0-22-test" in run("debugfs", "-R", "ls -p /boot", path)
    assert cat(path, f"/boot/vmlinuz-{disks.KERNEL}").startswith(f"vmlinuz {disks.KERNEL}\n")
    assert cat(path, "/etc/passwd").startswith("root:x:0:0")


def taken_out(folder: str, path: str = "out.img", image_format: str = "raw") -> None:
    """The root file system became an image of its own, labelled, with its kernel beside it."""
    with Looked(f"{folder}/{path}", image_format) as looked:
        sound(looked.raw)
        untouched(looked.raw)
        assert looked.size == 270 * MIB, looked.size
        assert tag(looked.raw, "LABEL") == "guest"
        fstab = cat(looked.raw, "/etc/fstab")
        assert "LABEL=guest / " in fstab, fstab
        assert f"\nUUID={disks.SWAP_UUID}" not in fstab, fstab
        assert "tmpfs /tmp tmpfs nosuid 0 0" in fstab
    for name, inside in (("kernel", "vmlinuz"), ("initrd", "initrd.img")):
        with open(f"{folder}/{name}", "rb") as file:
            content = file.read()
        assert content.startswith(f"{inside} {disks.KERNEL}\n".encode())
        assert len(content) > MIB // 2


def grown(looked: Looked, size: int) -> None:
    """A disk with its partitions: the root has the new room, swap stands at the end and is the same one."""
    assert looked.size == size, looked.size
    table = looked.table
    assert table["id"] == disks.DISK_ID
    root, extended, swap = table["partitions"]
    assert (root["start"], root["type"], root.get("bootable")) == (2048, "83", True), table
    assert root["size"] * 512 >= size - 40 * MIB, table
    assert (extended["type"] in ("5", "f"), swap["type"]) == (True, "82"), table
    part = looked.part(5)
    assert (tag(part, "UUID"), tag(part, "LABEL"), tag(part, "TYPE")) == (disks.SWAP_UUID, "swap", "swap")


def whole_grown(path: str, image_format: str, size: int) -> None:
    """Grown and customized, partitions and all."""
    with Looked(path, image_format) as looked:
        grown(looked, size)
        part = looked.part(1)
        customized(part)
        facts = dict(line.split(":", 1) for line in run("dumpe2fs", "-h", part).splitlines() if ":" in line)
        left = os.path.getsize(part) - int(facts["Block count"]) * int(facts["Block size"])
        assert 0 <= left < MIB, facts


def image(path: str, image_format: str, check: t.Callable[[str], None], size: int | None = None) -> None:
    """An image without partitions."""
    with Looked(path, image_format) as looked:
        assert size is None or looked.size == size, looked.size
        check(looked.raw)


def first_part(path: str, image_format: str, check: t.Callable[[str], None]) -> None:
    """The root file system of an image with partitions."""
    with Looked(path, image_format) as looked:
        check(looked.part(1))


def is_format(path: str, image_format: str) -> None:
    with open(path, "rb") as file:
        assert (file.read(4) == b"QFI\xfb") == (image_format == "qcow2")


# --- the scenarios ---------------------------------------------------------------------------------------------------


def scenarios(seeds: Seeds) -> list[Scenario]:
    """Those with a guest in them."""
    return [*_made(seeds), *_in_place(seeds), *_others(seeds)]


def _from(name: str, **more: t.Any) -> t.Callable[[str], Args]:
    def args(folder: str) -> Args:
        source = {"path": f"{folder}/{name}", **more.get("image", {})}
        found = {
            "path": f"{folder}/{more.get('path', 'out.img')}",
            "source": {"image": source},
            **more.get("options", {}),
        }
        if more.get("kernel"):
            found.update(kernel=f"{folder}/kernel", initrd=f"{folder}/initrd")
        return found

    return args


def _made(seeds: Seeds) -> list[Scenario]:
    """Images made of others."""
    extract: Args = {"partition": "root", "filesystem": {"label": "guest"}, "fstab": "rewrite"}
    small: Args = {"format": "qcow2", "sparsify": True, "compress": "zstd"}
    return [
        Scenario(
            "extract raw",
            lambda f: void(seeds.copy(seeds.disk, f"{f}/disk.img")),
            _from("disk.img", options=extract, kernel=True),
            taken_out,
            ("disk.img",),
            ("out.img", "kernel", "initrd"),
        ),
        Scenario(
            "extract compressed qcow2",
            lambda f: void(seeds.copy(seeds.packed, f"{f}/disk.qcow2")),
            _from("disk.qcow2", image={"format": "qcow2"}, options=extract, kernel=True),
            taken_out,
            ("disk.qcow2",),
            ("out.img", "kernel", "initrd"),
        ),
        Scenario(
            "sparsify and compress",
            lambda f: void(seeds.copy(seeds.disk, f"{f}/disk.img")),
            _from("disk.img", image={"mode": "copy"}, path="out.qcow2", options=small),
            lambda f: first_part(f"{f}/out.qcow2", "qcow2", untouched),
            ("disk.img",),
            ("out.qcow2",),
        ),
        Scenario(
            "overlay",
            lambda f: void(seeds.copy(seeds.fs, f"{f}/base.img")),
            _from("base.img", path="out.qcow2", options={"size": "400MiB", "customize": CUSTOMIZE}),
            lambda f: image(f"{f}/out.qcow2", "qcow2", _own, 400 * MIB),
            ("base.img",),
            ("out.qcow2",),
        ),
        Scenario(
            "copy and grow",
            lambda f: void(seeds.copy(seeds.fs, f"{f}/base.img")),
            _from(
                "base.img", image={"mode": "copy"}, options={"size": "500MiB", "customize": CUSTOMIZE, "format": "raw"}
            ),
            lambda f: image(f"{f}/out.img", "raw", _own, 500 * MIB),
            ("base.img",),
            ("out.img",),
        ),
        Scenario(
            "copy of a disk, grown",
            lambda f: void(seeds.copy(seeds.disk, f"{f}/disk.img")),
            _from(
                "disk.img", image={"mode": "copy"}, options={"size": "500MiB", "customize": CUSTOMIZE, "format": "raw"}
            ),
            lambda f: whole_grown(f"{f}/out.img", "raw", 500 * MIB),
            ("disk.img",),
            ("out.img",),
        ),
    ]


def _own(path: str) -> None:
    """Customized, and a guest of its own."""
    customized(path)
    assert cat(path, "/etc/machine-id") == ""
    assert cat(path, "/etc/ssh/ssh_host_ed25519_key") == ""


def _in_place(seeds: Seeds) -> list[Scenario]:
    """Images that are there and are changed."""

    def scenario(
        name: str,
        source: str,
        path: str,
        options: Args,
        verify: t.Callable[[str], None],
        base: str | None = None,
    ) -> Scenario:
        def prepare(folder: str) -> None:
            if base is None:
                seeds.copy(source, f"{folder}/{path}")
                return
            seeds.copy(base, f"{folder}/base.img")
            made = task("kvm_image", {"path": f"{folder}/{path}", "source": {"image": {"path": f"{folder}/base.img"}}})
            assert made.ok, made

        kept = () if base is None else ("base.img",)
        return Scenario(
            f"in place: {name}",
            prepare,
            lambda f: {"path": f"{f}/{path}", **options},
            lambda f: verify(f"{f}/{path}"),
            kept,
            (),
            path,
        )

    label: Args = {"filesystem": {"label": "new", "uuid": "12345678-1111-4222-8333-444455556666"}}
    return [
        scenario(
            "raw with swap behind, grown and customized",
            seeds.disk,
            "disk.img",
            {"size": "420MiB", "customize": CUSTOMIZE},
            lambda p: whole_grown(p, "raw", 420 * MIB),
        ),
        scenario(
            "qcow2, grown and customized",
            seeds.plain,
            "disk.qcow2",
            {"size": "420MiB", "customize": CUSTOMIZE},
            lambda p: whole_grown(p, "qcow2", 420 * MIB),
        ),
        scenario(
            "compressed qcow2, customized",
            seeds.packed,
            "disk.qcow2",
            {"customize": CUSTOMIZE},
            lambda p: first_part(p, "qcow2", customized),
        ),
        scenario(
            "overlay, grown and customized",
            "",
            "disk.qcow2",
            {"size": "300MiB", "customize": CUSTOMIZE},
            lambda p: image(p, "qcow2", customized, 300 * MIB),
            base=seeds.fs,
        ),
        scenario("raw to qcow2", seeds.disk, "disk.img", {"format": "qcow2", "compress": "zstd"}, _converted("qcow2")),
        scenario("qcow2 to raw", seeds.packed, "disk.img", {"format": "raw"}, _converted("raw")),
        scenario(
            "to qcow2 and grown and customized",
            seeds.disk,
            "disk.img",
            {"format": "qcow2", "size": "420MiB", "customize": CUSTOMIZE},
            lambda p: whole_grown(p, "qcow2", 420 * MIB),
        ),
        scenario(
            "shrunk",
            seeds.fs,
            "fs.img",
            {"size": "96MiB", "shrink": True},
            lambda p: image(p, "raw", _sound_and_untouched, 96 * MIB),
        ),
        scenario("sparsified", seeds.fs, "fs.img", {"sparsify": True}, lambda p: image(p, "raw", _sound_and_untouched)),
        scenario("label and UUID", seeds.fs, "fs.img", label, lambda p: image(p, "raw", _labelled)),
        scenario(
            "label and UUID in qcow2", seeds.plain, "disk.qcow2", label, lambda p: first_part(p, "qcow2", _labelled)
        ),
    ]


def _converted(image_format: str) -> t.Callable[[str], None]:
    def check(path: str) -> None:
        is_format(path, image_format)
        first_part(path, image_format, _sound_and_untouched)

    return check


def _sound_and_untouched(path: str) -> None:
    sound(path)
    untouched(path)


def _labelled(path: str) -> None:
    _sound_and_untouched(path)
    assert (tag(path, "LABEL"), tag(path, "UUID")) == ("new", "12345678-1111-4222-8333-444455556666")


def _others(seeds: Seeds) -> list[Scenario]:
    def overlay(folder: str) -> None:
        seeds.copy(seeds.fs, f"{folder}/base.img")
        args = {
            "path": f"{folder}/out.qcow2",
            "source": {"image": {"path": f"{folder}/base.img"}},
            "kernel": f"{folder}/kernel",
        }
        made = task("kvm_image", args)
        assert made.ok, made

    def flattened(folder: str) -> None:
        image(f"{folder}/out.qcow2", "qcow2", untouched)
        os.rename(f"{folder}/base.img", f"{folder}/away")
        try:
            image(f"{folder}/out.qcow2", "qcow2", untouched)
        finally:
            os.rename(f"{folder}/away", f"{folder}/base.img")

    return [
        Scenario(
            "absent",
            overlay,
            lambda f: {"path": f"{f}/out.qcow2", "state": "absent", "kernel": f"{f}/kernel"},
            lambda f: _assert_names(f, {"base.img"}),
            ("base.img",),
        ),
        Scenario(
            "overlay made independent",
            overlay,
            _from("base.img", image={"mode": "copy"}, path="out.qcow2", options={"format": "qcow2"}),
            flattened,
            ("base.img", "kernel"),
            (),
            "out.qcow2",
        ),
    ]


def _assert_names(folder: str, names: set[str]) -> None:
    assert set(os.listdir(folder)) == names, os.listdir(folder)


def void(_value: object) -> None:
    """For what is called because of what it does."""
