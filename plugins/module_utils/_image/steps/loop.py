# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, steps: a loop device for programs that work on devices only and for mounts, which is gone when it is done."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _loop
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError

_GONE_WITHIN = 10.0


@contextlib.contextmanager
def attached(path: str, offset: int, size: int, *, read_only: bool) -> t.Iterator[str]:
    """The path of a loop device on ``size`` bytes from ``offset`` of the file ``path``, for the time of the block.

    Whoever opens the device must have closed it at the end of the block; raises Busy when somebody still has it then.
    """
    stack = contextlib.ExitStack()
    try:
        device = stack.enter_context(_loop.attached(path, offset, size, read_only=read_only))
    except OSError as exc:
        raise KvmError(
            f"{path}: no loop device can be made of it: {exc.strerror} ({exc.filename or path}); this needs root, and a"
            " container needs the loop devices of its host."
        ) from exc
    use = _loop.look(device)
    try:
        yield device
    finally:
        stack.close()
    _wait(path, device, use)


def _wait(path: str, device: str, use: _loop.Loop | None) -> None:
    """Waits until the device is gone, or has become somebody else's."""
    deadline = time.monotonic() + _GONE_WITHIN
    while use is not None and _loop.look(device) == use:
        if time.monotonic() > deadline:
            raise Busy(
                f"{path}: its loop device {device} is still in use, so it cannot be said that all is written: another"
                f" program has opened it; find it with 'fuser -v {device}' and run again."
            )
        time.sleep(0.005)
