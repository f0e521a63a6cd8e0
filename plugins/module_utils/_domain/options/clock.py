# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: the clock of the machine and its timers. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    ensure,
    unset,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import items
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import YES_NO, matching, number, words
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


def _write_offset(node: Element, value: t.Any) -> None:
    clock = ensure(node, "clock")
    # Only timers are independent of how the clock is kept.
    unset(clock, *(str(name) for name in clock.attrib))
    clock.set("offset", value or "utc")


def _check_timer(what: str, values: Values) -> None:
    name = values["name"]
    for option, timers in (("track", ("platform", "rtc")), ("frequency", ("tsc",)), ("mode", ("tsc",))):
        if option in values and name not in timers:
            raise InvalidSpec(f"{what}: the timer {name} has no {option}; only {' and '.join(timers)} has it.")
    if name in ("kvmclock", "hypervclock") and "tickpolicy" in values:
        raise InvalidSpec(f"{what}: the timer {name} has no tickpolicy.")
    catchup = any(option.startswith("catchup.") for option in values)
    if catchup and values.get("tickpolicy") != "catchup":
        raise InvalidSpec(f"{what}: catchup goes with the tickpolicy catchup only.")


_TIMER = (
    attribute(
        "name",
        ".",
        "name",
        words("platform", "hpet", "kvmclock", "pit", "rtc", "tsc", "hypervclock", "armvtimer"),
    ),
    attribute("present", ".", "present", YES_NO),
    attribute("tickpolicy", ".", "tickpolicy", words("delay", "catchup", "merge", "discard")),
    attribute("track", ".", "track", words("boot", "guest", "wall", "realtime")),
    attribute("frequency", ".", "frequency", number(1)),
    attribute("mode", ".", "mode", words("auto", "native", "emulate", "paravirt", "smpsafe")),
    *attributes("catchup.", "catchup", number(0), "threshold", "slew", "limit"),
)


def check(what: str, scalars: Values) -> None:
    """What must hold between the options of a clock."""
    offset = scalars.get("clock.offset")
    goes = {
        "clock.timezone": ("timezone",),
        "clock.basis": ("variable",),
        "clock.adjustment": ("variable", "utc", "localtime"),
        "clock.start": ("absolute",),
    }
    for option, offsets in goes.items():
        if option in scalars and offset not in offsets:
            raise InvalidSpec(f"{what}: {option} goes with clock.offset {' or '.join(offsets)}, not with {offset}.")
    for needed, option in (("timezone", "clock.timezone"), ("absolute", "clock.start")):
        if offset == needed and option not in scalars:
            raise InvalidSpec(f"{what}: clock.offset {needed} needs {option}.")
    reset = scalars.get("clock.adjustment") == "reset"
    if "clock.adjustment" in scalars and reset == (offset == "variable"):
        raise InvalidSpec(
            f"{what}: clock.adjustment is a number of seconds with clock.offset variable, and reset with utc and localtime."
        )


LEAVES = (
    Leaf(
        "clock.offset",
        lambda node: _xml.find_attribute(node, "clock", "offset") or "utc",
        _write_offset,
        words("utc", "localtime", "timezone", "variable", "absolute"),
        default="utc",
    ),
    attribute("clock.timezone", "clock", "timezone", matching(r"[a-zA-Z0-9_+\-]+(/[a-zA-Z0-9_+\-]+)*", "time zone")),
    attribute("clock.basis", "clock", "basis", words("utc", "localtime")),
    attribute(
        "clock.adjustment",
        "clock",
        "adjustment",
        matching(r"reset|-?[0-9]+", "adjustment of a clock (seconds, or reset)"),
        runtime=True,
    ),
    attribute("clock.start", "clock", "start", number(0)),
    items("clock.timers", "clock", "timer", _TIMER, required=("name",), unique="name", check=_check_timer),
)
