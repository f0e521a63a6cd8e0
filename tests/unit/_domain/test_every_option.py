# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: declarations that have every option, put together at random from the cases that libvirt is tested with."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.arguments import DEFINITION
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import BY_NAME
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec
from ansible_collections.hypervisor.kvm.tests.unit._domain.declarations import as_libvirt
from hypothesis import assume, given
from hypothesis import strategies as st

TARGET = pathlib.Path(__file__).resolve().parents[2] / "integration" / "targets" / "kvm_domain"
BASE = {"name": "web", "memory": "64MiB"}
CASES: list[dict[str, t.Any]] = [
    case["options"] for case in yaml.safe_load((TARGET / "vars" / "options.yml").read_text())["option_cases"]
]
#: What of the guest's machine stays when nobody states it any more.
STAYS = {leaf.name for leaf in BY_NAME.values() if leaf.keep} | {"current_vcpus"}


def _real(value: t.Any) -> t.Any:
    """The paths of the cases, which the target fills in."""
    if isinstance(value, dict):
        return {key: _real(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_real(item) for item in value]
    return value.replace("{{ work }}", "/work") if isinstance(value, str) else value


_VALIDATOR = ArgumentSpecValidator({"name": {"type": "str"}, **DEFINITION})


def parsed(options: dict[str, t.Any]) -> spec.Definition:
    """As Ansible hands options over: a number is text where text is expected."""
    result = _VALIDATOR.validate({**BASE, **_real(options)})
    assert result.error_messages == []
    return spec.parse(result.validated_parameters).definition


def _together(cases: list[dict[str, t.Any]], keys: set[str]) -> dict[str, t.Any]:
    """Some of the options of some cases, as Ansible would hand them over."""
    found: dict[str, t.Any] = {}
    for case in cases:
        found.update({key: value for key, value in case.items() if key in keys})
    return found


_KEYS = sorted({key for case in CASES for key in case})


@st.composite
def declarations(draw: st.DrawFn) -> spec.Definition:
    cases = draw(st.lists(st.sampled_from(CASES), min_size=1, max_size=4))
    keys = draw(st.sets(st.sampled_from(_KEYS), min_size=1))
    try:
        return parsed(_together(cases, keys))
    except InvalidSpec:
        # What does not go together is for other tests.
        assume(False)
        raise


def merge(wanted: spec.Definition, existing: str | None = None, last: Memory | None = None) -> xml.Merged:
    return xml.merge("web", wanted, existing, xml.remembered(existing) if last is None else last)


def check_all_there(declared: spec.Definition, seen: xml.Seen) -> None:
    for name, value in declared.scalars.items():
        assert seen.scalars.get(name) == value or value in (False, []), name
    for option, devices in declared.devices.items():
        found = list(seen.devices[option].values())
        for device in devices:
            assert any(device.items() <= values.items() for values in found), (option, device, found)


@given(declarations())
def test_what_was_merged_is_what_is_read(declared: spec.Definition) -> None:
    check_all_there(declared, xml.read(merge(declared).document))


@given(declarations())
def test_the_same_again_changes_nothing(declared: spec.Definition) -> None:
    document = as_libvirt(merge(declared).document)
    assert xml.shown(merge(declared, document).document) == xml.shown(document)
    # And so it is with all that is there, stated.
    everything = xml.definition(xml.read(document))
    again = merge(everything, document)
    assert xml.read(again.document) == xml.read(document)
    assert merge(everything, again.document).document == again.document


@given(declarations(), declarations())
def test_from_any_declaration_to_any_other(one: spec.Definition, other: spec.Definition) -> None:
    there = as_libvirt(merge(one).document)
    moved, fresh = xml.read(merge(other, there).document), xml.read(merge(other).document)
    check_all_there(other, moved)
    for name in set(one.scalars) - set(other.scalars) - STAYS:
        # A mode of the processor, or a firmware, that is declared anew takes what belonged to it along.
        assert moved.scalars.get(name) == fresh.scalars.get(name), name
    for option in set(one.devices) - set(other.devices):
        assert moved.devices[option] == {}, option


@given(declarations())
def test_what_is_not_declared_any_more_leaves_nothing(declared: spec.Definition) -> None:
    bare = parsed({})
    back = merge(bare, merge(declared).document)
    # Machine, number of processors and the like stay as they are.
    kept = spec.Definition(
        {name: value for name, value in declared.scalars.items() if name in STAYS - {"memory", "current_vcpus"}}
    )
    there = merge(spec.Definition({**kept.scalars, **bare.scalars}))
    assert _bare(back.document) == _bare(there.document)


def _bare(document: str) -> str:
    """Without what libvirt gives any domain: a list of devices, a processor, a clock."""
    text = xml.shown(document)
    for line in ("<devices/>", "<vcpu>1</vcpu>", '<clock offset="utc"/>'):
        text = text.replace(f"  {line}\n", "")
    return text


def _names(options: dict[str, t.Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, option in options.items():
        if "options" in option:
            found |= {prefix + name} | _names(option["options"], f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def _used(value: t.Any, prefix: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(_used(item, prefix) for item in value)) if value else {prefix}
    if isinstance(value, dict):
        return set().union(*(_used(item, f"{prefix}.{key}".strip(".")) for key, item in value.items()))
    return {prefix}


def test_what_is_tried_with_libvirt_are_options() -> None:
    used = set().union(*(_used(case) for case in CASES))
    # Dictionaries of free words have keys of their own.
    free = ("interfaces.filter.parameters.", "disks.network.cookies.", "qemu_commandline.env.")
    names = _names(DEFINITION)
    assert {name for name in used if not name.startswith(free)} <= names


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.option)
def test_each_kind_of_device_is_tried_with_libvirt(kind: t.Any) -> None:
    assert any(kind.option in case for case in CASES)
