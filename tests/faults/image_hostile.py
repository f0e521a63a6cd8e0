# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images made to read or harm the host go through the modules: nothing of the host is opened, changed, or in the result.

    python image_hostile.py [--rounds N] [--seed S] [--only WORD]

What is looked at is the host itself (the kernel says who opens its files), not what the modules say. Each task ends soon, with
little memory, with success or one clear error. Needs root; with ansible and ansible_collections on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import resource
import shutil
import stat
import sys
import time
import typing as t

import disks
import ground
import hostile
from disks import MIB
from scenes import CUSTOMIZE, Args
from tally import Tally
from tasks import Result, task
from watch import SECRET, Host

_NEEDS = (
    "qemu-img",
    "qemu-storage-daemon",
    "e2fsck",
    "mke2fs",
    "debugfs",
    "mkfs.xfs",
    "mkfs.btrfs",
    "sfdisk",
    "unshare",
)
_SECONDS = 30
_MEMORY = 1 << 30
_PLAIN = ("a qcow2 with a backing file", "raw with the header of a qcow2")
_LOOK = "kvm_image_info"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ALL: Args = {"fstab": "rewrite", "customize": {**CUSTOMIZE, "root_password": "$6$x$y", "machine_id": "reset"}}
_HOSTILE_WORD = "a\x1b[31mb\x07c\x9bd"


class Arena:
    """The host that is to be left alone, and a folder for each image."""

    def __init__(self, scratch: str, tally: Tally) -> None:
        self.scratch, self.tally = scratch, tally
        self.folder = f"{scratch}/work"
        os.mkdir(f"{scratch}/host")
        self.host = Host(f"{scratch}/host")

    def fresh(self) -> str:
        """An empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        return self.folder

    def play(self, module: str, args: Args, may_open: t.Collection[str] = ()) -> Result:
        """One task, and what must be true whatever the image is."""
        with self.host.untouched(may_open):
            result = task(module, args, timeout=_SECONDS)
        left = ground.leftovers(self.scratch)
        assert not left, f"it left {'; '.join(left)}"
        said = result.output + result.errors
        assert "Traceback" not in said, result
        assert result.ok or result.msg, f"there is no error in the result: {result}"
        assert SECRET not in said, f"the content of a file of the host is in the result: {result}"
        odd = sorted({text for text in texts(result.data) if _CONTROL.search(text)})
        assert not odd, f"control characters in the result: {odd}"
        return result

    def holds_no_secret(self, path: str, image_format: str = "raw") -> None:
        """Nothing of the host is in a file that was made."""
        if os.path.exists(path):
            with disks.Looked(path, image_format) as looked, open(looked.raw, "rb") as file:
                for start, end in list(disks.extents(file.fileno())):
                    assert SECRET.encode() not in os.pread(file.fileno(), end - start, start), f"{path} has it"


def texts(value: t.Any) -> t.Iterator[str]:
    """All strings of a result."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            # What was asked for is given back by Ansible itself.
            if key != "invocation":
                yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def made_of(folder: str, path: str, image_format: str) -> dict[str, Args]:
    """The ways to make something of an image, or to change it."""
    source: Args = {"path": path, "format": image_format}
    out = f"{folder}/out.img"
    return {
        "copied": {"path": out, "source": {"image": {**source, "mode": "copy"}}, "format": "raw"},
        "an overlay": {"path": f"{folder}/out.qcow2", "source": {"image": source}, "customize": CUSTOMIZE},
        "taken out": {"path": out, "source": {"image": source}, "partition": "root", "kernel": f"{folder}/kernel"},
        "changed": {"path": path, "customize": CUSTOMIZE, "size": "1GiB"},
        "packed": {"path": path, "format": "qcow2", "compress": "zstd"},
    }


def containers(arena: Arena) -> None:
    """Headers that name files of the host."""
    host = arena.host
    for what, path, image_format in list(hostile.containers(host, arena.fresh())):
        # To say what the chain is, the header of a plain backing file is looked at; a device or a pipe is not even opened.
        with arena.tally.check(f"{what}, looked into"):
            arena.play(_LOOK, {"path": path}, may_open=[host.secret])
        # A plain backing file is what trust is about; of everything else even the author of a trusted image has no need.
        for trust in (None, "trusted")[: 1 if what in _PLAIN else 2]:
            for how, args in made_of(arena.folder, path, image_format).items():
                with arena.tally.check(f"{what}, {how}, {trust or 'trust not stated'}"):
                    refused(arena, {**args, **({"trust": trust} if trust else {})}, path)


def refused(arena: Arena, args: Args, path: str) -> None:
    """Nothing is made of the image at ``path``, and it stays as it is."""
    before = disks.digest(path)
    result = arena.play("kvm_image", args, may_open=[arena.host.secret])
    try:
        for name, form in (("out.img", "raw"), ("out.qcow2", "qcow2"), ("kernel", "raw")):
            arena.holds_no_secret(f"{arena.folder}/{name}", form)
        assert not result.ok, f"it was accepted: {result}"
        assert disks.digest(path) == before, "the image has changed"
    finally:
        if args["path"] != path:
            task("kvm_image", {"path": args["path"], "state": "absent"})


def own_header(arena: Arena) -> None:
    """A raw disk of ours whose guest has written the header of a qcow2 into it stays a raw disk."""
    folder = arena.fresh()
    path, args = f"{folder}/ours.img", {"path": f"{folder}/ours.img", "source": {"blank": True}, "size": "64MiB"}
    with arena.tally.check("a raw disk of ours with the header of a qcow2"):
        assert arena.play("kvm_image", args).ok
        # Not beside it: images there are looked at, as they may stand on this one.
        header = hostile.on_a_file(f"{arena.scratch}/header", arena.host.secret)
        ground.run("dd", f"if={header}", f"of={path}", "conv=notrunc", "status=none")
        assert not arena.play("kvm_image", args).data["changed"]
        found = arena.play(_LOOK, {"path": path}).data["image"]
        assert (found["format"], found["backing_chain"], found["virtual_size"]) == ("raw", [], 64 * MIB), found
        copy = {"path": f"{folder}/copy.img", "source": {"image": {"path": path, "mode": "copy"}}}
        assert arena.play("kvm_image", copy).ok
        assert disks.digest(f"{folder}/copy.img") == disks.digest(path)
        assert arena.play("kvm_image", {**args, "size": "128MiB"}).ok
        assert os.path.getsize(path) == 128 * MIB


def sizes(arena: Arena) -> None:
    """Disks larger than any, and such as unpack to more than there is room for."""
    folder = arena.fresh()
    images = list(hostile.huge(folder))
    with open(f"{folder}/content", "wb") as file:
        file.write(b"not zeros" * 100000)
    for size in (16 << 30, 1 << 40):
        path = hostile.bomb(f"{folder}/bomb{size}.qcow2", size, f"{folder}/content")
        images.append((f"{size >> 30} GiB in {os.path.getsize(path)} bytes", path, "qcow2"))
    for what, path, image_format in images:
        with arena.tally.check(f"{what}, looked into"):
            arena.play(_LOOK, {"path": path})
        for how, args in made_of(folder, path, image_format).items():
            with arena.tally.check(f"{what}, {how}"):
                result = arena.play("kvm_image", args)
                assert not result.ok or how == "an overlay", f"it was accepted: {result}"
                assert "No space left" not in str(result.data), f"it was written until the disk was full: {result}"


def trees(arena: Arena) -> None:
    """Guests whose files and folders are links to the host, devices, pipes, or setuid."""
    kinds, ways = ("ext4", "xfs", "btrfs"), sorted(hostile.links(arena.host).items())
    # Not all in one guest: the first that is refused would end the task. Every way and every kind get their turn.
    for number, names in enumerate([[name] for name in hostile.FILES] + [list(hostile.FILES)]):
        kind, (called, way) = kinds[number % 3], ways[number % len(ways)]
        what = f"{'all files' if len(names) > 1 else f'/{names[0]}'} on {kind} as a link to the host ({called})"
        guest(arena, what, kind, functools.partial(hostile.linked_files, names=names, way=way))
    for number, folder in enumerate(hostile.FOLDERS):
        kind, (called, way) = kinds[number % 3], ways[number % len(ways)]
        what = f"/{folder} on {kind} as a link to the host ({called})"
        # Only what is made in it: what is read of it first would end the task.
        more: Args = {
            "customize": {key: value for key, value in CUSTOMIZE.items() if key == "hostname" or "root" in folder}
        }
        guest(arena, what, kind, functools.partial(hostile.linked_folder, name=folder, way=way), more)
    for kind, mode in zip(("ext4", "xfs", "btrfs", "ext4"), (stat.S_IFCHR, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFSOCK)):
        guest(arena, f"files of type {mode:o} on {kind}", kind, functools.partial(hostile.odd_files, kind=mode))


def guest(arena: Arena, what: str, kind: str, tree: t.Callable[[str], str], more: Args | None = None) -> None:
    """Everything that is done to a guest's files; the file systems that only the kernel writes are said to be trusted."""
    more = _ALL if more is None else more
    folder = arena.fresh()
    path = hostile.made(kind, tree(f"{folder}/tree"), f"{folder}/fs.img")
    shutil.rmtree(f"{folder}/tree")
    trust: Args = {} if kind == "ext4" else {"trust": "trusted"}
    source: Args = {"source": {"image": {"path": path, "mode": "copy"}}}
    tasks: dict[str, Args] = {
        "copied": {"path": f"{folder}/out.img", **source, **more},
        "with its kernel": {"path": f"{folder}/k.img", **source, "kernel": f"{folder}/kernel", "initrd": f"{folder}/i"},
        "changed": {"path": path, **more},
    }
    with arena.tally.check(f"{what}, looked into"):
        assert arena.play(_LOOK, {"path": path}).ok
    for how, args in tasks.items():
        with arena.tally.check(f"{what}, {how}"):
            arena.play("kvm_image", {**args, **trust})
            for name in ("out.img", "k.img", "kernel", "i", "fs.img"):
                arena.holds_no_secret(f"{folder}/{name}")
            if kind == "ext4":
                disks.sound(path)


def words(arena: Arena) -> None:
    """Strings that a terminal would obey, in names and contents."""
    folder = arena.fresh()
    path = hostile.made("ext4", hostile.controlled(f"{folder}/tree", _HOSTILE_WORD), f"{folder}/fs.img")
    ground.run("tune2fs", "-L", "a\x1b[31mb", path)
    with arena.tally.check("control characters, looked into"):
        result = arena.play(_LOOK, {"path": path})
        assert result.ok, result
        assert "[31mb" in json.dumps(result.data["image"]), f"they are not shown at all: {result}"
    for how, args in made_of(folder, path, "raw").items():
        with arena.tally.check(f"control characters, {how}"):
            arena.play("kvm_image", {**args, "fstab": "rewrite"} if how in ("an overlay", "taken out") else args)


def damage(arena: Arena, chance: random.Random, rounds: int) -> None:
    """File systems with random bytes in their metadata: an answer or a clear error; what is made of an ext4 is sound."""
    folder = arena.fresh()
    tree = disks.tree(f"{arena.scratch}/tree", 2)
    whole = {kind: hostile.made(kind, tree, f"{arena.scratch}/{kind}.img") for kind in ("ext4", "xfs", "btrfs")}
    for number in range(rounds):
        kind = ("ext4", "ext4", "xfs", "btrfs")[number % 4]
        path = f"{arena.fresh()}/fs.img"
        ground.run("cp", "--sparse=always", whole[kind], path)
        places = flip(path, chance)
        how, args = chance.choice(sorted(made_of(folder, path, "raw").items()))
        if how in ("an overlay", "changed") and kind != "ext4":
            # Only libguestfs would do that, which is another test.
            args = {key: value for key, value in args.items() if key not in ("customize", "size")}
        with arena.tally.check(f"{kind} with other bytes at {places}, {how}"):
            arena.play(_LOOK, {"path": path})
            result = arena.play("kvm_image", args)
            if result.ok and kind == "ext4" and how in ("changed", "taken out"):
                disks.sound(args["path"])


def flip(path: str, chance: random.Random) -> list[int]:
    """Puts other bytes to a few places where there are some."""
    places = []
    with open(path, "r+b") as file:
        found = [extent for extent in disks.extents(file.fileno()) if extent[0] < 8 * MIB]
        for _place in range(chance.choice((1, 4, 64))):
            start, end = chance.choice(found)
            position = chance.randrange(start, min(end, start + MIB))
            file.seek(position)
            file.write(chance.randbytes(chance.choice((1, 2, 4, 8))))
            places.append(position)
    return sorted(places)[:8]


def main() -> int:
    parser = argparse.ArgumentParser(description="Gives hostile images to the modules.")
    parser.add_argument("--rounds", type=int, default=40, help="damaged file systems (40)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same damage again")
    parser.add_argument("--only", default="", help="parts with this in their name")
    options = parser.parse_args()
    scratch = ground.enter(_NEEDS)
    print(f"image_hostile: seed {options.seed}", flush=True)
    tally = Tally("image_hostile")
    arena, chance = Arena(scratch, tally), random.Random(options.seed)
    parts: dict[str, t.Callable[[], None]] = {
        "containers": lambda: containers(arena),
        "own header": lambda: own_header(arena),
        "sizes": lambda: sizes(arena),
        "trees": lambda: trees(arena),
        "words": lambda: words(arena),
        "damage": lambda: damage(arena, chance, options.rounds),
    }
    for name, part in parts.items():
        if options.only in name:
            started, before = time.monotonic(), tally.passed
            part()
            print(f"  {name}: {tally.passed - before} passed; {time.monotonic() - started:.1f} s", flush=True)
    with tally.check("the memory that it takes"):
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        assert most < _MEMORY, f"a task or its programs took {most} bytes"
    return tally.close(f"seed {options.seed}")


if __name__ == "__main__":
    sys.exit(main())
