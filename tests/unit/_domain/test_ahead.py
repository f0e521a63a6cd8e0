# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what is begun ahead of its time is waited for, and what has not begun at the end never does."""

from __future__ import annotations

import sys
import threading
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import carry
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.ahead import Ahead


def test_what_was_begun_is_waited_for() -> None:
    ahead, may_end, ended = Ahead(), threading.Event(), []

    def work() -> None:
        assert may_end.wait(10)
        ended.append("a")

    ahead.begin("a", work)
    assert not ended
    may_end.set()
    assert ahead.done("a")
    assert ended == ["a"]
    assert not ahead.done("b")
    ahead.close()


def test_an_error_comes_to_who_waits() -> None:
    def work() -> None:
        raise ValueError("a")

    ahead = Ahead()
    ahead.begin("a", work)
    with pytest.raises(ValueError, match="a"):
        ahead.done("a")
    ahead.close()


def test_at_the_end_all_is_as_before() -> None:
    before, may_end, ended = sys.getswitchinterval(), threading.Event(), []
    ahead = Ahead()
    for name in "abcdefgh":
        ahead.begin(name, lambda: ended.append(may_end.wait(0.2)))
    ahead.close()
    # Those that had begun have ended, the others have not begun.
    assert 0 < len(ended) < 8
    assert sys.getswitchinterval() == before
    ahead.close()


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 224, 225, 226, 1000])
def test_all_of_a_call_are_compared_some_of_them_soon(count: int) -> None:
    works = [t.cast("carry.DomainWork", object()) for _number in range(count)]
    parts = list(carry.in_parts(works))
    assert [work for part in parts for work in part] == works
    assert all(parts)
    assert [len(part) for part in parts[:1]] == [min(25, count)][: len(parts)]
