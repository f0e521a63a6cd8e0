# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes: text to bytes and back."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._units import format_size, parse_size
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_what_is_written_reads_back(size: int) -> None:
    assert parse_size(format_size(size), "size") == size


@pytest.mark.parametrize(
    ("text", "unit", "size"),
    [
        ("2GiB", "B", 2 << 30),
        ("2 GiB", "B", 2 << 30),
        ("2G", "B", 2 << 30),
        ("2GB", "B", 2 * 10**9),
        ("512mib", "B", 512 << 20),
        ("1.5GiB", "B", 3 << 29),
        ("1000B", "B", 1000),
        ("7", "B", 7),
        (7, "MiB", 7 << 20),
        ("0", "GiB", 0),
        ("7EiB", "B", 7 << 60),
        ("0.5 KiB", "B", 512),
    ],
)
def test_parse(text: object, unit: str, size: int) -> None:
    assert parse_size(text, "size", unit) == size


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-1", "1XiB", "1 GiB 2", "1e3", "0x10", "1,5GiB", "8EiB", "1.3B", "1.1KiB", "9" * 30, None, True],
)
def test_no_size(text: object) -> None:
    with pytest.raises(InvalidSpec, match="memory of lan"):
        parse_size(text, "memory of lan")


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        size = parse_size(text, "size")
    except InvalidSpec:
        return
    assert 0 <= size < 2**63


def test_the_shortest_exact_form() -> None:
    assert [format_size(size) for size in (0, 1, 1000, 1024, 1536, 1 << 30, 3 << 29)] == [
        "0B",
        "1B",
        "1000B",
        "1KiB",
        "1536B",
        "1GiB",
        "1536MiB",
    ]
