# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All scenarios: those of guests, and those of a bare file system of each kind; and which of them can be played here."""

from __future__ import annotations

import shutil

from disks import MIB, Looked, sound, sparse, tag
from ground import run
from scenes import Args, Scenario, Seeds, scenarios, void
from tally import Tally

_KINDS = ("ext4", "xfs", "btrfs", "swap")
_UUID = "12345678-1111-4222-8333-444455556666"
_SIZE = 400 * MIB


def possible(seeds: Seeds, only: str, tally: Tally) -> list[Scenario]:
    """Those with ``only`` in their name whose programs are here; the others are said."""
    everything = [*scenarios(seeds), *map(_blank, _KINDS), *map(_labelled, _KINDS)]
    chosen = [scene for scene in everything if only in scene.name]
    for scene in chosen:
        if scene.needs:
            tally.not_tested(f"{scene.name}: {', '.join(scene.needs)} is missing")
    return [scene for scene in chosen if not scene.needs]


def _blank(kind: str) -> Scenario:
    args: Args = {"source": {"blank": True}, "size": "400MiB", "filesystem": {"type": kind, "label": "data"}}
    return Scenario(
        f"blank with {kind}",
        lambda _folder: None,
        lambda f: {"path": f"{f}/out.img", **args},
        lambda f: _is(f, kind, "data"),
        (),
        ("out.img",),
        needs=_needs(kind),
    )


def _labelled(kind: str) -> Scenario:
    return Scenario(
        f"in place: label and UUID of {kind}",
        lambda f: void(run(*_mkfs(kind), sparse(f"{f}/out.img", _SIZE))),
        lambda f: {"path": f"{f}/out.img", "filesystem": {"label": "data", "uuid": _UUID}},
        lambda f: _is(f, kind, "data", _UUID),
        changes="out.img",
        needs=_needs(kind),
    )


def _mkfs(kind: str) -> list[str]:
    return ["mkswap", "-q"] if kind == "swap" else [f"mkfs.{kind}", "-q"]


def _needs(kind: str) -> tuple[str, ...]:
    program = _mkfs(kind)[0]
    return (program,) if shutil.which(program) is None else ()


def _is(folder: str, kind: str, label: str, uuid: str | None = None) -> None:
    with Looked(f"{folder}/out.img", "raw") as looked:
        assert (tag(looked.raw, "TYPE"), tag(looked.raw, "LABEL"), looked.size) == (kind, label, _SIZE)
        assert uuid is None or tag(looked.raw, "UUID") == uuid
        if kind == "xfs":
            run("xfs_repair", "-n", "-f", looked.raw)
        elif kind == "ext4":
            sound(looked.raw)
        elif kind == "btrfs":
            run("btrfs", "check", looked.raw)
