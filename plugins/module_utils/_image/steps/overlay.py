# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: an overlay that holds only what differs from its base.

``qemu-img convert -B`` writes everything that the source has (400 MB for a small guest), ``qemu-img rebase`` compares,
but reads every hole (half a minute for 10 GiB). Here only the data of both files is compared, and only clusters that
differ are written, by qemu-io.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.disk import extents, program

CLUSTER = 64 * 1024
_BLOCK = 16 * CLUSTER
_PIECE = 256 * CLUSTER


def create(path: str, base: str, base_format: str, size: int, timeout: float) -> None:
    """An empty overlay on ``base``; both formats are stated, nothing is guessed."""
    argv = [program("qemu-img"), "create", "-q", "-f", "qcow2", "-b", base, "-F", base_format, path, str(size)]
    _command.run(argv, timeout=timeout, what=f"Cannot make the overlay on {base}")


def write_difference(overlay: str, before: str, after: str, scratch: str, timeout: float) -> int:
    """Puts into ``overlay`` what ``after`` has different from ``before`` (raw files); gives the bytes written."""
    commands: list[str] = []
    total = 0
    with open(before, "rb") as old, open(after, "rb") as new:
        # What was written just now must be seen by the search for holes.
        os.fsync(new.fileno())
        for start, end in pieces(differing(old.fileno(), new.fileno())):
            data = os.pread(new.fileno(), end - start, start).ljust(end - start, b"\0")
            total += end - start
            if data.count(0) == len(data):
                commands.append(f"write -q -z {start} {end - start}")
                continue
            # qemu-io knows no quotes: the names have nothing to quote, the folder of the call is theirs.
            name = f"piece{len(commands)}"
            with open(os.path.join(scratch, name), "xb") as file:
                file.write(data)
            commands.append(f"write -q -s {name} {start} {end - start}")
    if commands:
        _run(overlay, commands, scratch, timeout)
    return total


def _run(overlay: str, commands: t.Sequence[str], scratch: str, timeout: float) -> None:
    argv = [program("qemu-io"), "-f", "qcow2", "-t", "writeback", os.path.abspath(overlay)]
    what = f"Cannot write the overlay {overlay}"
    text = "\n".join([*commands, "flush", "quit", ""])
    done = _command.run(argv, timeout=timeout, stdin=text, cwd=scratch, what=what)
    # With -q a command that works prints nothing, and the exit code tells only about opening the file.
    printed = [line for line in (done.stdout + done.stderr).replace("qemu-io>", "").splitlines() if line.strip()]
    if printed:
        raise KvmError(f"{what}: {printed[0].strip()}", stderr="\n".join(printed[-20:]))


def differing(old: int, new: int) -> t.Iterator[tuple[int, int]]:
    """The clusters (start, end) in which two files differ, in order; what lies behind the end of a file is zeros."""
    end_of_new = os.fstat(new).st_size
    for start, end in _blocks([*extents(old), *extents(new)], end_of_new):
        left, right = (os.pread(fd, end - start, start).ljust(end - start, b"\0") for fd in (old, new))
        if left == right:
            continue
        for offset in range(0, end - start, CLUSTER):
            if left[offset : offset + CLUSTER] != right[offset : offset + CLUSTER]:
                yield start + offset, min(start + offset + CLUSTER, end_of_new)


def _blocks(found: t.Sequence[tuple[int, int]], limit: int) -> t.Iterator[tuple[int, int]]:
    """The blocks that the extents touch, each once and in order."""
    position = 0
    for start, end in sorted(found):
        position = max(start // _BLOCK * _BLOCK, position)
        while position < min(end, limit):
            yield position, position + _BLOCK
            position += _BLOCK


def pieces(clusters: t.Iterable[tuple[int, int]]) -> t.Iterator[tuple[int, int]]:
    """Neighbours together, none larger than one write should be."""
    held: tuple[int, int] | None = None
    for start, end in clusters:
        if held is not None and held[1] == start and end - held[0] <= _PIECE:
            held = (held[0], end)
            continue
        if held is not None:
            yield held
        held = (start, end)
    if held is not None:
        yield held
