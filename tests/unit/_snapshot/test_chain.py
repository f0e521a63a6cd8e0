# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chains of files: which of them go, and that the merges keep what the guest sees."""

from __future__ import annotations

import operator

from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Merge, position, released
from ansible_collections.hypervisor.kvm.tests.unit._snapshot.states import disk
from hypothesis import given
from hypothesis import strategies as st

SAME = operator.eq


def test_one_snapshot() -> None:
    found = released(disk("vda", "/x/o", "/x/b.raw"), ["/x/b.raw"], ["/x/o"], SAME)
    assert found == [Merge("vda", "/x/b.raw", "raw", ("/x/o",))]


def test_from_the_middle() -> None:
    found = released(disk("vda", "/x/2", "/x/1", "/x/b.raw"), ["/x/b.raw"], ["/x/1"], SAME)
    assert found == [Merge("vda", "/x/b.raw", "raw", ("/x/1",), "/x/2")]
    assert found[0].top == "/x/1"


def test_neighbours_are_merged_at_once() -> None:
    chain = disk("vda", "/x/3", "/x/2", "/x/1", "/x/b.raw")
    found = released(chain, ["/x/b.raw", "/x/1"], ["/x/1", "/x/2"], SAME)
    assert found == [Merge("vda", "/x/b.raw", "raw", ("/x/2", "/x/1"), "/x/3")]


def test_what_no_snapshot_made_is_not_merged() -> None:
    chain = disk("vda", "/x/mine", "/x/b.raw")
    assert released(chain, ["/x/b.raw"], ["/x/o"], SAME) == []
    assert released(chain, ["/x/mine"], ["/x/mine"], SAME) == []
    assert released(chain, ["/x/elsewhere"], ["/x/mine"], SAME) == []


def test_position() -> None:
    chain = disk("vda", "/x/2", "/x/1")
    assert [position(chain, path, SAME) for path in ("/x/2", "/x/1", "/x/0")] == [0, 1, None]


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[dict[int, int]], set[int]]:
    """What each file of a chain has by cluster, the topmost first, and the numbers of the contents to release."""
    count = draw(st.integers(1, 7))
    layers = [draw(st.dictionaries(st.integers(0, 5), st.integers(1, 9), max_size=5)) for _number in range(count)]
    return layers, draw(st.sets(st.integers(0, count - 1)))


def _seen(layers: list[dict[int, int]], order: list[int]) -> dict[int, int]:
    """What the guest sees of a chain."""
    found: dict[int, int] = {}
    for number in order:
        found = {**layers[number], **found}
    return found


@given(chains())
def test_merging_keeps_what_everybody_sees(drawn: tuple[list[dict[int, int]], set[int]]) -> None:
    layers, going = drawn
    names = [f"/x/{number}" for number in range(len(layers))]
    before = {number: _seen(layers, list(range(number, len(layers)))) for number in range(len(layers))}
    merges = released(disk("vda", *names), [names[number] for number in going], names, SAME)
    order, content = list(range(len(layers))), [dict(layer) for layer in layers]
    for merge in merges:
        base, drop = names.index(merge.base), [names.index(path) for path in merge.drop]
        # As a commit does: from the lowest of them, so that the topmost wins.
        for number in reversed(drop):
            content[base].update(content[number])
        above = order[order.index(drop[0]) - 1] if order.index(drop[0]) > 0 else None
        assert merge.above == (names[above] if above is not None else None)
        order = [number for number in order if number not in drop]
    assert _seen(content, order) == before[0]
    # The file that the user knows stays, and nothing that was released has anything of its own on top left.
    assert order[-1] == len(layers) - 1
    dropped = set(range(len(layers))) - set(order)
    assert dropped == {number - 1 for number in going if number > 0}
    # What other snapshots keep is seen as before, in the file that it is in now.
    for number in range(len(layers)):
        if number not in going:
            place = number if number in order else next(low for low in order if low > number)
            assert _seen(content, order[order.index(place) :]) == before[number]
