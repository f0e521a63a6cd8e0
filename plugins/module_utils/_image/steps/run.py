# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Images, steps: the frame of making one image: its work folder, its time, and what was done how long."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.spec import ImageSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.steps.workspace import Workspace


class Run:
    """One image being made; ``steps`` is the return value of that name, ``touched`` whether anything outside of
    the work folder was changed."""

    def __init__(
        self, spec: ImageSpec, space: Workspace, say: t.Callable[[str], None], steps: list[dict[str, t.Any]]
    ) -> None:
        self.spec = spec
        self.space = space
        self.steps = steps
        self.touched = False
        self._say = say
        self._deadline = time.monotonic() + spec.timeout

    def say(self, text: str) -> None:
        """Tells what is being done."""
        self._say(f"{self.spec.path}: {text}")

    @property
    def left(self) -> float:
        """Seconds that are left; raises when there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise KvmError(f"image {self.spec.path}: not done within {self.spec.timeout} s; allow a longer timeout.")
        return left

    @contextlib.contextmanager
    def step(self, name: str, text: str) -> t.Iterator[None]:
        """Says what is being done and notes how long it took."""
        self.say(text)
        started = time.monotonic()
        yield
        self.steps.append({"name": name, "seconds": round(time.monotonic() - started, 2)})
