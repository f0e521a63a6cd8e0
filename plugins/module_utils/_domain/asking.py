# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: how a guest is asked to shut down. A qemu that hangs keeps whoever asks for ever, and an agent that hangs for a
minute; so threads of their own ask, and who wants the guest off keeps to its time.
"""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.crew import Crew, Job
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.lines import Lines
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import host, lifecycle
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import is_alive, is_code

#: Seconds after which a guest that ignored a request is asked again, and after which an agent that has not answered is
#: taken for one that hangs.
_AGAIN, _HEARD = 15, 5


class Requests:
    """Requests to one guest. ``before`` is done once before the first one, with a connection."""

    def __init__(self, connection: t.Any, name: str, before: t.Callable[[t.Any], None] | None = None) -> None:
        self._name = name
        self._before = before
        self._prepared = threading.Event()
        self._lines = Lines(host.uri(connection), connection)
        # One thread for each way of asking.
        self._crew = Crew(2)
        self._asked = float("-inf")
        self._request: Job[None] | None = None
        self._press: Job[None] | None = None

    def again(self) -> None:
        """Asks when it is time to; raises what libvirt says against it."""
        _raise(self._request)
        _raise(self._press)
        waited = time.monotonic() - self._asked
        if self._request is None or (self._request.done.is_set() and waited >= _AGAIN):
            # A guest that is just booting misses the request, and libvirt calls that a success.
            self._asked = time.monotonic()
            self._request, self._press = self._crew.submit(self._ask), None
        elif not self._request.done.is_set() and self._press is None and self._prepared.is_set() and waited >= _HEARD:
            self._press = self._crew.submit(self._button)

    def take_back(self, undo: t.Callable[[t.Any], None]) -> None:
        """Undoes what ``before`` did, with a guest that stays on. Where qemu hangs by now, the next task sees what is left."""
        if self._prepared.is_set():
            job = self._crew.submit(lambda: self._with_line(undo))
            job.done.wait(_HEARD)
            _raise(job)

    def _ask(self) -> None:
        self._with_line(self._prepare_and_ask)

    def _prepare_and_ask(self, line: t.Any) -> None:
        if self._before is not None and not self._prepared.is_set():
            self._before(line)
        self._prepared.set()
        lifecycle.shutdown(line, self._name)

    def _button(self) -> None:
        self._with_line(lambda line: lifecycle.press_power_button(line, self._name))

    def _with_line(self, call: t.Callable[[t.Any], None]) -> None:
        line = self._lines.mine()
        try:
            call(line)
        except LibvirtError as exc:
            # Somebody else keeps qemu, or the daemon was started afresh: not asked, so asked again when it is time to.
            if is_alive(line) and not is_code(exc, "VIR_ERR_OPERATION_TIMEOUT", "VIR_ERR_AGENT_UNRESPONSIVE"):
                raise

    def close(self) -> None:
        """Waits for nothing that is still being asked."""
        self._lines.close()


def _raise(job: Job[None] | None) -> None:
    if job is not None:
        job.result()
