# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads for questions that may never be answered."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.crew import Crew


def test_answers_and_errors() -> None:
    def wrong() -> int:
        raise ValueError("no")

    crew = Crew(2)
    found = crew.all({"a": lambda: 1, "b": wrong, **{str(number): int for number in range(20)}}, seconds=60)
    assert found["a"] == 1
    assert isinstance(found["b"], ValueError)
    assert len(found) == 22
    job = crew.submit(wrong)
    assert job.done.wait(60)
    with pytest.raises(ValueError, match="no"):
        job.result()


def test_those_that_hang_do_not_keep_the_others() -> None:
    never = threading.Event()
    crew = Crew(3)
    stuck = [crew.submit(never.wait) for _time in range(2)]
    found = crew.all({str(number): threading.get_ident for number in range(10)}, seconds=60)
    assert len(set(found.values())) == 1
    assert not any(job.done.is_set() for job in stuck)
    # One more, and there is nobody left; what was asked is missing, and nobody waits for it.
    stuck.append(crew.submit(never.wait))
    assert crew.all({"late": threading.get_ident}, seconds=0.01) == {}
    never.set()
    assert all(job.done.wait(60) for job in stuck)
