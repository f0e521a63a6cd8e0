# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes: what a task returns of them."""

from __future__ import annotations

import json

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN, ChangeSet
from hypothesis import given
from hypothesis import strategies as st

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def test_empty() -> None:
    changes = ChangeSet("lan")
    assert not changes
    assert (changes.results(), changes.diff(), changes.restart_required) == ([], [], [])


def test_compare_records_only_stated_differences() -> None:
    changes = ChangeSet("lan")
    assert changes.compare("mtu", 1500, 9000, "next_boot") is True
    assert changes.compare("mac", "a", "a") is False
    assert changes.compare("bridge", "br0", None) is False
    assert changes.results() == [
        {"object": "lan", "field": "mtu", "before": 1500, "after": 9000, "effect": "next_boot"}
    ]
    assert changes.has("mac", "mtu")
    assert not changes.has("mac")


def test_restart_required_names_each_field_once() -> None:
    changes = ChangeSet("lan")
    changes.add("mtu", 1500, 9000, "next_boot")
    changes.add("autostart", False, True)
    changes.require_restart("mtu")
    changes.require_restart("domain")
    changes.require_restart("domain")
    assert changes.restart_required == [{"object": "lan", "fields": ["mtu", "domain"]}]
    changes.restarts = True
    assert changes.restart_required == []


def test_what_waits_may_be_known_as_a_whole() -> None:
    changes = ChangeSet("lan")
    changes.add("disks.vda.cache", "none", "writeback", "next_boot")
    changes.waits_for_start(["disks.vda", "memory", "disks.vda"])
    assert changes.restart_required == [{"object": "lan", "fields": ["disks.vda", "memory"]}]
    changes.waits_for_start([])
    assert changes.restart_required == []


def test_a_secret_is_in_nothing_that_is_returned() -> None:
    changes = ChangeSet("lan")
    changes.add("password", None, "tell-nobody", secret=True)
    changes.compare("token", "old-secret", "new-secret", secret=True)
    returned = json.dumps([changes.results(), changes.diff()])
    assert "tell-nobody" not in returned
    assert "-secret" not in returned
    assert changes.results()[0]["before"] is None
    assert changes.results()[1] == {
        "object": "lan",
        "field": "token",
        "before": HIDDEN,
        "after": HIDDEN,
        "effect": "live",
    }


def test_diff_has_a_line_an_item() -> None:
    changes = ChangeSet("lan")
    changes.add("ips", [{"address": "10.0.0.1/24"}], [{"address": "10.0.0.1/24"}, {"address": "10.1.0.1/24"}])
    changes.add("autostart", None, True)
    changes.add("script", "a\nb\n", None)
    (entry,) = changes.diff()
    assert entry["before"] == "ips:\n  - address=10.0.0.1/24\nscript:\n  a\n  b\n"
    assert entry["after"] == "ips:\n  - address=10.0.0.1/24\n  - address=10.1.0.1/24\nautostart: true\n"


def test_a_document_is_in_the_diff_only_when_it_changes() -> None:
    changes = ChangeSet("lan")
    changes.document("lan (definition)", "<a/>\n", "<a/>\n")
    assert changes.diff() == []
    changes.document("lan (definition)", "", "<a/>\n")
    assert [entry["after"] for entry in changes.diff()] == ["<a/>\n"]


def test_what_has_not_come_about_is_taken_out() -> None:
    changes = ChangeSet("web")
    changes.add("vcpus", 1, 2, "next_boot")
    changes.add("disks.vda.size", 4, 8)
    changes.document("web (definition)", "<a/>", "<b/>")
    changes.restarts = True
    changes.only(lambda change: change.field == "disks.vda.size", documents=False)
    assert [change["field"] for change in changes.results()] == ["disks.vda.size"]
    assert [entry["after"] for entry in changes.diff()] == ["disks.vda.size: 8\n"]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), PLAIN, PLAIN), max_size=5))
def test_the_change_and_only_the_change_makes_it_changed(fields: list[tuple[str, object, object]]) -> None:
    changes = ChangeSet("lan")
    for field, before, after in fields:
        changes.compare(field, before, after)
    differing = [field for field, before, after in fields if after is not None and before != after]
    assert [change["field"] for change in changes.results()] == differing
    assert bool(changes) == bool(differing)
    assert bool(changes.diff()) == bool(differing)
    json.dumps([changes.results(), changes.diff()])
