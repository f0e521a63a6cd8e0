# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the image bench: which methods do the same work, how their results are checked, what is aimed at."""

from __future__ import annotations

import functools
import json
import statistics
import typing as t
from pathlib import Path

import appliance
import image_data
import image_verify
from common import BenchError, Method, compete, loop_device, run, table
from image_methods import Bench
from tasks import Task


def _dd(bench: Bench, source: Path, limit: bool, *words: str) -> None:
    size = bench.layout.size if limit else None
    with loop_device(source, bench.layout.offset, size) as device:
        run(["dd", f"if={device}", f"of={bench.result('root.img')}", "status=none", *words])


def _window(bench: Bench, source: Path, image_format: str) -> None:
    graph: dict[str, t.Any] = {"driver": image_format, "file": {"driver": "file", "filename": str(source)}}
    if image_format == "raw":
        graph = graph["file"]
    window = {"driver": "raw", "offset": bench.layout.offset, "size": bench.layout.size, "file": graph}
    argv = ["qemu-img", "convert", "-m", "8", "-W", "-O", "raw", f"json:{json.dumps(window)}"]
    run([*argv, bench.result("root.img")])


def _extract(
    bench: Bench, name: str, source: Path, label: str, image_format: str = "raw"
) -> tuple[Method, Method, Task]:
    out = bench.result("root.img")
    options = {
        "path": str(out),
        "source": {"image": {"path": str(source), "format": image_format}},
        "partition": "1",
    }
    task = bench.controller.pack(name, "kvm_image", options)
    return (*bench.by_module(f"kvm_image{label}", task, out, bench.is_exact), task)


def extraction(bench: Bench) -> None:
    """The root file system out of a sparse raw disk."""
    out, source, offset = bench.result("root.img"), bench.disks.sparse, bench.layout.offset
    by, whole = (
        functools.partial(bench.by_commands, result=out, check=bench.is_root),
        functools.partial(_dd, bench, source),
    )
    fast = [
        by("dd bs=4M conv=sparse on a loop device", work=lambda: whole(True, "bs=4M", "conv=sparse")),
        by("e2image -ra -o", work=lambda: run(["e2image", "-ra", "-o", str(offset), source, out])),
        by("qemu-img convert -m 8 -W of the window", work=lambda: _window(bench, source, "raw")),
    ]
    recipe = by("the guide: losetup -o, dd", work=lambda: whole(False), repeats=2)
    limited = by("the same with --sizelimit", work=lambda: whole(True), repeats=1)
    process, inside, task = _extract(bench, "extract", source, "")
    compete([recipe, limited, *fast, process, inside], bench.disks.all())
    table("## Extraction of the root file system, raw to raw", [recipe, limited, *fast, process, inside], process)
    _tell_parts(task)
    quickest = min(fast, key=lambda method: method.seconds)
    targets = bench.targets
    targets.at_least("the guide's recipe / kvm_image's process", recipe.seconds / process.seconds, 25, "x")
    targets.at_most(
        f"kvm_image's process / the fastest ({quickest.name})", process.seconds / quickest.seconds, 1.5, "x"
    )
    print(f"  (the module's own time / the fastest: {inside.seconds / quickest.seconds:.3g}x)", flush=True)


def states(bench: Bench) -> None:
    """The same out of a fully allocated and out of a dirty disk."""
    out, offset = bench.result("root.img"), bench.layout.offset
    image_data.make_full(bench.disks)
    methods, processes = [], {}
    for name, source in (("sparse", bench.disks.sparse), ("full", bench.disks.full), ("dirty", bench.disks.dirty)):
        process, inside, _rest = _extract(bench, f"state-{name}", source, f", {name}")
        argv: list[str | Path] = ["e2image", "-ra", "-o", str(offset), source, out]
        methods += [
            bench.by_commands(f"e2image, {name}", out, bench.is_root, functools.partial(run, argv), 3),
            bench.by_commands(
                f"qemu-img, {name}", out, bench.is_exact, functools.partial(_window, bench, source, "raw"), 3
            ),
            process,
            inside,
        ]
        processes[name] = process
    compete(methods, bench.disks.all())
    table("## Extraction out of a fully allocated and a dirty disk", methods, processes["sparse"])
    for name in ("full", "dirty"):
        ratio = processes[name].seconds / processes["sparse"].seconds
        bench.targets.at_most(f"{name} source / sparse source, kvm_image's process", ratio, 2, "x")


def compressed(bench: Bench) -> None:
    """The root file system out of a compressed qcow2, in one pass."""
    out, raw = bench.result("root.img"), bench.result("whole.raw")

    def guide(source: Path) -> None:
        run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", source, raw])
        _dd(bench, raw, False)
        raw.unlink()

    for name, source in (("zlib", bench.disks.zlib), ("zstd", bench.disks.zstd)):
        recipe = bench.by_commands("convert, losetup -o, dd", out, bench.is_root, functools.partial(guide, source), 1)
        window = bench.by_commands(
            "qemu-img convert -m 8 -W of the window",
            out,
            bench.is_exact,
            functools.partial(_window, bench, source, "qcow2"),
        )
        process, inside, task = _extract(bench, name, source, "", "qcow2")
        methods = [recipe, window, process, inside]
        compete(methods, bench.disks.all())
        table(f"## Extraction out of a compressed qcow2 ({name})", methods, process)
        _tell_parts(task)
        bench.targets.at_most(
            f"{name}: kvm_image's process / qemu-img's window", process.seconds / window.seconds, 1.5, "x"
        )


def sparsify(bench: Bench) -> None:
    """A dirty disk as a small compressed qcow2."""
    out, source = bench.result("small.qcow2"), bench.disks.dirty

    def check(path: Path) -> None:
        image_verify.check_qcow2(path, bench.layout, bench.wanted)

    options = {
        "path": str(out),
        "format": "qcow2",
        "source": {"image": {"path": str(source), "format": "raw", "mode": "copy"}},
        "sparsify": True,
        "compress": "zstd",
    }
    task = bench.controller.pack("sparsify", "kvm_image", options)
    process, inside = bench.by_module("kvm_image, zstd", task, out, check)
    methods = [process, inside]
    reason = appliance.missing("virt-sparsify")
    if not reason:
        argv: list[str | Path] = [
            "virt-sparsify",
            "--quiet",
            "--format",
            "raw",
            "--convert",
            "qcow2",
            "--compress",
            source,
            out,
        ]
        env = appliance.environment(bench.scratch)
        methods.insert(
            0, bench.by_commands("virt-sparsify --convert qcow2 --compress", out, check, lambda: run(argv, env=env), 1)
        )
    compete(methods, bench.disks.all())
    table("## Sparsify and compress a dirty disk", methods, process)
    _tell_parts(task)
    if reason:
        bench.targets.skip("virt-sparsify", reason)
        return
    bench.targets.at_least("virt-sparsify / kvm_image's process", methods[0].seconds / process.seconds, 10, "x")
    bench.targets.at_most("size of its result / size of virt-sparsify's", _size(process) / _size(methods[0]), 1, "x")


def _size(method: Method) -> int:
    return method.allocated or 0


def grow(bench: Bench) -> None:
    """The root partition 2 GiB larger, with the swap behind it."""
    more = 2 << 30
    out, size = bench.result("grown.raw"), bench.layout.disk * 512 + more

    def check(path: Path) -> None:
        image_verify.check_disk(path, bench.layout, bench.wanted, more)

    def fresh() -> None:
        run(["cp", "--sparse=always", bench.disks.sparse, out])

    fresh()
    task = bench.controller.pack("grow", "kvm_image", {"path": str(out), "format": "raw", "size": str(size)})
    process, inside = bench.by_module("kvm_image, in place", task, out, check, fresh)
    methods = [process, inside]
    reason = appliance.missing("virt-resize")
    if not reason:
        env = appliance.environment(bench.scratch)

        def resize() -> None:
            with out.open("xb") as file:
                file.truncate(size)
            argv = ["virt-resize", "--quiet", "--format", "raw", "--output-format", "raw", "--expand", "/dev/sda1"]
            run([*argv, bench.disks.sparse, out], env=env)

        methods.insert(0, bench.by_commands("virt-resize --expand", out, check, resize, 1))
    compete(methods, bench.disks.all())
    table("## Grow by 2 GiB, swap behind the root partition", methods, process)
    _tell_parts(task)
    bench.targets.at_most("growing, the module's own time", inside.seconds, 0.5, " s")
    if reason:
        bench.targets.skip("virt-resize", reason)
        return
    bench.targets.at_least("virt-resize / kvm_image's process", methods[0].seconds / process.seconds, 50, "x")


def info(bench: Bench) -> None:
    """What kvm_image_info takes on each of the disks."""
    image_data.make_full(bench.disks)
    methods: list[Method] = []
    inner: list[Method] = []
    tasks: list[Task] = []
    for path in bench.disks.all():
        options = {"path": str(path), "format": path.suffix[1:]}
        task = bench.controller.pack(f"info-{path.stem}", "kvm_image_info", options)
        process, inside = bench.by_module(f"kvm_image_info, {path.stem}", task)
        process.verify = inside.verify = functools.partial(_check_info, bench, task)
        methods += [process, inside]
        inner.append(inside)
        tasks.append(task)
    compete(methods, bench.disks.all())
    table("## Info", methods, inner[0])
    _tell_parts(tasks[0])
    bench.disks.full.unlink()
    slowest = max(inner, key=lambda method: method.seconds)
    bench.targets.at_most(f"the slowest ({slowest.name})", slowest.seconds * 1000, 100, " ms")


def _check_info(bench: Bench, task: Task) -> None:
    image = task.results[-1]["image"]
    starts = [(entry["number"], entry["start"]) for entry in image["partitions"]]
    layout = bench.layout
    right = (
        starts == [(1, layout.start), (2, layout.extended), (5, layout.swap_start)]
        and image["root"]["uuid"] == image_data.ROOT_UUID
        and image["operating_system"]["id"] == "debian"
        and len(image["kernels"]) == 1
        and image["partitions"][2]["uuid"] == image_data.SWAP_UUID
    )
    if not right:
        raise BenchError(f"kvm_image_info of {image['path']} is wrong: {json.dumps(image)}")


def _tell_parts(task: Task) -> None:
    """Where the time of the module goes: medians of imports and main(), and the steps of the last run."""
    ansible, module, inside = (statistics.median(column) * 1000 for column in zip(*task.parts))
    print(
        f"Parts: importing ansible.module_utils.basic {ansible:.0f} ms, the module {module:.0f} ms, main() {inside:.0f} ms."
    )
    steps = ", ".join(f"{step['name']} {step['seconds']:.2f}" for step in task.results[-1].get("steps", []))
    print(f"Steps in seconds: {steps}.\n" if steps else "", flush=True)
