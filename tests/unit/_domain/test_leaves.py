# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: every single option is written, read back, changed and taken out again."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION, KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import SCALARS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import Table, read
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

TEXTS = (
    "0-1", "2,4", "1", "0x2", "512MiB", "2GiB", "/a/b", "/c", "name", "other", "52:54:00:00:00:01", "52:54:00:00:00:02",
    "0000:00:05.0", "0000:01:00.1", "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e10", "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e11",
    "192.0.2.1", "2001:db8::1", "2027-01-31T15:00:00", "2027-02-01T15:00:00", "Europe/Berlin", "UTC", "0640", "0750",
    "0123456789abcdef", "fedcba9876543210", "ua-one", "ua-two", "reset", "-5", "10.0.2.1:4600", "10.0.2.2:4600", "opt/one", "opt/two",
)  # fmt: skip
NUMBERS = (1, 2, 3, 7, 10, 50, 1000, 2000, 1024, 2048, 4095, 5000, 5900, 5901)

#: What the rest of a device has to be for an option to have a place: its kind and option, and the values before it.
CONTEXTS: dict[str, dict[str, t.Any]] = {
    "disks.pool": {"type": "volume"},
    "disks.nvme.address": {"type": "nvme"},
    "interfaces.source": {"type": "network"},
    "interfaces.local": {"type": "udp", "source": "230.0.0.1:5558"},
    "interfaces.model": {"type": "network"},
    "hostdevs.source": {"type": "pci"},
    "filesystems.source": {"type": "mount"},
    "channels.name": {"target_type": "virtio"},
    "*.mode": {"type": "tcp"},
    "smartcard.socket_mode": {"type": "tcp"},
    "*.bind_host": {"type": "udp"},
    "*.bind_service": {"type": "udp"},
    "inputs.source": {"type": "evdev"},
    "tpm.source": {"backend": "external"},
    "videos.blob": {"model": "virtio"},
    "graphics.autoport": {"port": 5910},
    "current_vcpus": {"vcpus": 9000},
    "os.nvram.format": {"os.nvram.path": "/vars"},
}
#: Their normal form does not come from one value alone, or they have none that could be taken out.
SPECIAL = ("interfaces.local", "hostdevs.source", "graphics.autoport", "graphics.listens")


def tables() -> t.Iterator[tuple[str, tuple[Leaf, ...]]]:
    yield "", tuple(SCALARS)
    for kind in KINDS:
        yield kind.option, kind.leaves


def cases(kept: bool = True) -> list[t.Any]:
    return [
        pytest.param(option, table, leaf, id=f"{option}.{leaf.name}".strip("."))
        for option, table in tables()
        for leaf in table
        if leaf.shape is not None and f"{option}.{leaf.name}" not in SPECIAL and (kept or not leaf.keep)
    ]


def accepted(leaf: Leaf) -> list[t.Any]:
    """A few values in their normal form, as far as there are as many."""
    found: list[t.Any] = []
    shape = leaf.shape
    assert shape is not None
    for stated in itertools.islice(candidates(shape.option), 20_000):
        with contextlib.suppress(InvalidSpec):
            value = shape.parse(leaf.name, stated)
            if value not in found:
                found.append(value)
        if len(found) == 4:
            break
    assert found, f"no value for {leaf.name} among the candidates"
    return found


def candidates(option: t.Mapping[str, t.Any]) -> t.Iterator[t.Any]:
    if option["type"] == "list":
        if "options" in option:
            yield from ([entry] for entry in entries(option["options"]))
            return
        single = list(candidates({**option, "type": option["elements"]}))
        yield from ([one] for one in single)
        yield single[:2]
    elif option["type"] == "dict" and "options" in option:
        yield from entries(option["options"])
    elif option["type"] == "dict":
        yield from ({"one": "1", "two": "2"}, {"one": "3"})
    else:
        choices = {"bool": [True, False], "int": list(NUMBERS)}.get(option["type"], list(TEXTS))
        yield from option.get("choices", choices)


def entries(options: t.Mapping[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
    """Entries with all of their options, then with fewer and fewer of them."""
    per = {name: list(itertools.islice(candidates(option), 40)) for name, option in options.items()}
    depth = max(len(values) for values in per.values())
    yield from ({name: values[step % len(values)] for name, values in per.items()} for step in range(depth))
    for count in (1, 2, 3):
        for names in itertools.combinations(per, count):
            yield from (dict(zip(names, values)) for values in itertools.product(*(per[name] for name in names)))


def fresh(option: str, table: tuple[Leaf, ...], leaf: Leaf) -> t.Any:
    if not option:
        node = etree.fromstring("<domain type='kvm'/>")
    else:
        node = etree.Element(BY_OPTION[option].tag.replace("*", "x"))
    name = f"{option}.{leaf.name}".strip(".")
    context = {**CONTEXTS.get(f"*.{leaf.name}", {}), **CONTEXTS.get(name, {})}
    for other in table:
        if other.name in context:
            other.write(node, context[other.name])
    return node


def text(node: t.Any) -> bytes:
    return bytes(etree.tostring(node, method="c14n2"))


@pytest.mark.parametrize(("option", "table", "leaf"), cases())
def test_what_is_written_is_read(option: str, table: tuple[Leaf, ...], leaf: Leaf) -> None:
    values = accepted(leaf)
    for value in values:
        node = fresh(option, table, leaf)
        leaf.write(node, value)
        assert leaf.read(node) == value
        # Written again nothing moves, and so it is after any other value.
        before = text(node)
        leaf.write(node, value)
        assert text(node) == before
        for other in values:
            leaf.write(node, other)
            assert leaf.read(node) == other
        leaf.write(node, value)
        assert leaf.read(node) == value


@pytest.mark.parametrize(("option", "table", "leaf"), cases(kept=False))
def test_what_is_taken_out_leaves_nothing(option: str, table: tuple[Leaf, ...], leaf: Leaf) -> None:
    empty = fresh(option, table, leaf)
    for value in accepted(leaf):
        node = fresh(option, table, leaf)
        leaf.write(node, value)
        leaf.write(node, leaf.default)
        assert leaf.read(node) in (leaf.default, leaf.read(empty))
        if leaf.default is None and f"{option}.{leaf.name}" != "graphics.port":
            assert text(node) == text(empty)


@pytest.mark.parametrize(("option", "table", "leaf"), cases())
def test_taking_out_what_is_not_there_is_no_error(option: str, table: tuple[Leaf, ...], leaf: Leaf) -> None:
    empty = fresh(option, table, leaf)
    leaf.read(empty)
    node = fresh(option, table, dataclasses.replace(leaf, name="none"))
    leaf.read(node)
    leaf.write(node, None)


def _documents(table: Table) -> st.SearchStrategy[etree._Element]:
    """Elements with some of the places of a table in them, with others, and with some of them twice."""
    places = ["other", *(leaf.place for leaf in table if leaf.place is not None)]
    known = st.sampled_from(sorted(places))
    steps = st.lists(st.sampled_from(["source", "driver", "target", "other"]), min_size=1, max_size=3)
    values = st.sampled_from(["yes", "no", "on", "off", "1", "0x2", "vda", "file", "nonsense", "", "2,4"])
    one = st.tuples(st.one_of(known, known, steps.map("/".join)), values, st.booleans())

    def build(pieces: list[tuple[str, str, bool]]) -> etree._Element:
        root = etree.Element("thing")
        for place, value, again in pieces:
            node = root
            path, at, key = place.partition("@")
            for step in path.split("/") if path else ():
                found = None if again else node.find(step)
                node = etree.SubElement(node, step) if found is None else found
            if at:
                node.set(key, value)
            elif node is not root:
                node.text = value
        return root

    return st.lists(one, max_size=12).map(build)


@pytest.mark.parametrize(
    "table", [SCALARS, *(kind.table for kind in KINDS)], ids=["", *(kind.option for kind in KINDS)]
)
@given(data=st.data())
def test_what_is_skipped_is_not_there(table: Table, data: st.DataObject) -> None:
    node = data.draw(_documents(table))
    plain = {leaf.name: leaf.value(node) for leaf in table}
    assert read(table, node) == {name: value for name, value in plain.items() if value is not None}
