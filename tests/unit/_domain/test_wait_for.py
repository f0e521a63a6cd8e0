# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: what a task waits for, in all the ways to say it."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import wait_for
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.wait_for import THINGS, Wait
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, Wait()),
        ([], Wait()),
        ({}, Wait()),
        ("", Wait()),
        ("agent", Wait(agent=True)),
        ("agent, ssh", Wait(agent=True, ssh=True)),
        (["ip", "cloud_init"], Wait(ip=True, cloud_init=True)),
        (["agent", {"console": "login:"}], Wait(agent=True, console="login:")),
        ({"agent": None, "ssh": False, "ip": "no"}, Wait(agent=True)),
        ({"agent": "yes", "ssh": {}}, Wait(agent=True, ssh=True)),
        ({"ssh": {"address": "192.0.2.1", "port": "2222"}}, Wait(ssh=True, ssh_address="192.0.2.1", ssh_port=2222)),
        ({"ssh": {"address": "web1.example", "port": None}}, Wait(ssh=True, ssh_address="web1.example")),
        ({"ip": {"family": "ipv6"}}, Wait(ip=True, ip_version=6)),
        ({"ip": {"address": "192.0.2.1/24"}}, Wait(ip=True, ip_address="192.0.2.1")),
        ({"console": {"pattern": "up|down"}}, Wait(console="up|down")),
        ({"console": False, "agent": True, "timeout": 5}, Wait(agent=True, timeout=5)),
        ({"agent": True, "timeout": "2.5"}, Wait(agent=True, timeout=2.5)),
    ],
)
def test_ways_to_say_it(value: t.Any, wait: Wait) -> None:
    assert wait_for.parse("a", value, 300) == wait


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "a list or a dictionary of ip, ssh, agent, cloud_init and console, not 5"),
        (["luck"], "not luck"),
        ({"ip": True, "luck": 1, "love": 2}, "not luck and love"),
        ({"agent": {"timeout": 5}}, "wait_for.agent has no details, not timeout"),
        ({"agent": "perhaps"}, "wait_for.agent is true, not 'perhaps'"),
        ({"ssh": "192.0.2.1"}, "a dictionary of address and port, not '192.0.2.1'"),
        ({"ssh": {"host": "a"}}, "has address and port, not host"),
        ({"ssh": {"port": "x"}}, "no port number"),
        ({"ssh": {"port": 0}}, "no port number"),
        ({"ssh": {"port": True}}, "no port number"),
        ({"ssh": {"address": "a b"}}, "neither an address nor the name of a host"),
        ({"ip": {"address": "here"}}, "no IP address"),
        ({"ip": {"address": "127.0.0.1"}}, "by which others reach"),
        ({"ip": {"address": "fe80::1"}}, "by which others reach"),
        ({"ip": {"family": 4}}, "any, ipv4 and ipv6, not 4"),
        ({"ip": {"family": "ipv6", "address": "192.0.2.1"}}, "no ipv6 address"),
        (["console"], "needs the regular expression"),
        ({"console": True}, "needs the regular expression"),
        ({"console": None}, "needs the regular expression"),
        ({"console": ["login:"]}, "not ['login:']"),
        ({"console": "("}, "no regular expression"),
        ({"agent": True, "timeout": "soon"}, "a number of seconds"),
        ({"agent": True, "timeout": -1}, "0 or more"),
        ({"agent": True, "timeout": True}, "0 or more"),
        ({"agent": True, "timeout": "nan"}, "0 or more"),
    ],
)
def test_what_is_wrong_is_said(value: t.Any, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        wait_for.parse("a", value, 300)
    assert caught.value.message.startswith("domain a: wait_for")
    assert words in caught.value.message


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*THINGS, "timeout"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*THINGS, "timeout", "x"]), inner),
    max_leaves=6,
)


@given(_PLAIN)
def test_anything_is_taken_or_refused_with_a_sentence(value: t.Any) -> None:
    with contextlib.suppress(InvalidSpec):
        wait = wait_for.parse("a", value, 300)
        assert bool(wait) == bool(wait.things)
        assert 0 <= wait.timeout < 1e9


@pytest.mark.parametrize(
    ("address", "version", "useful"),
    [
        ("192.0.2.1", 0, True), ("192.0.2.1", 6, False), ("2001:db8::1", 6, True), ("127.0.0.1", 0, False),
        ("169.254.1.1", 0, False), ("fe80::1%eth0", 0, False), ("::1", 0, False), ("::", 0, False),
        ("224.0.0.1", 0, False), ("nothing", 0, False), ("10.0.0.1", 4, True),
    ],
)  # fmt: skip
def test_useful_addresses(address: str, version: int, useful: bool) -> None:
    assert wait_for.is_useful(address, version) == useful
