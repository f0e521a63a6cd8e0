# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: the documentation of the options says what the argument specification says, for one domain and for a list."""

from __future__ import annotations

import importlib
import pathlib
import re
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hypervisor.kvm.plugins.doc_fragments import _domain_list
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION
from ansible_collections.hypervisor.kvm.plugins.modules import kvm_domain

ROOT = pathlib.Path(__file__).resolve().parents[3]
FRAGMENTS = "ansible_collections.hypervisor.kvm.plugins.doc_fragments"


def documented() -> dict[str, t.Any]:
    """The options of the module's fragments, as Ansible merges them."""
    found: dict[str, t.Any] = {}
    for name in yaml.safe_load(kvm_domain.DOCUMENTATION)["extends_documentation_fragment"]:
        *_parents, file, variable = [*name.split("."), "documentation"][:4]
        module = importlib.import_module(f"{FRAGMENTS}.{file}")
        text = getattr(module.ModuleDocFragment, variable.upper())
        found.update(yaml.safe_load(text).get("options") or {})
    return found


def faults(options: dict[str, t.Any], arguments: dict[str, t.Any], path: str = "") -> list[str]:
    """What the documentation says otherwise than the specification."""
    found = [f"{path}{name}: only in one of the two" for name in set(options) ^ set(arguments)]
    for name in sorted(set(options) & set(arguments)):
        option, argument = options[name], arguments[name]
        found += [
            f"{path}{name}: {key} is {option.get(key)}, not {argument.get(key)}"
            for key in ("type", "elements", "choices")
            if option.get(key) != argument.get(key)
        ]
        lines = option.get("description") or [""]
        found += [f"{path}{name}: no sentence: {line!r}" for line in lines if not line.endswith((".", ")"))]
        found += faults(option.get("suboptions") or {}, argument.get("options") or {}, f"{path}{name}.")
    return found


def test_each_option_is_documented_as_it_is() -> None:
    options = documented()
    entries = options.pop("domains")
    del options["uri"]
    assert faults(options, kvm_domain.OPTIONS) == []
    assert faults(entries["suboptions"], kvm_domain.OPTIONS, "domains.") == []


def test_the_list_form_has_every_fragment() -> None:
    named = yaml.safe_load(kvm_domain.DOCUMENTATION)["extends_documentation_fragment"]
    parts = {part.__name__.rpartition(".")[2] for part in _domain_list.FRAGMENTS}
    assert parts == {name.split(".")[2] for name in named if "._domain" in name} - {"_domain_list"}


@pytest.mark.parametrize(
    "change",
    [
        {"vcpus": {"type": "str", "description": ["A."]}},
        {"vcpus": {"type": "int", "description": ["A"]}},
        {"vcpu": {"type": "int", "description": ["A."]}},
        {"vcpus": {"type": "int", "description": ["A."], "suboptions": {"a": {"type": "str"}}}},
    ],
)
def test_a_difference_is_found(change: dict[str, t.Any]) -> None:
    assert faults({"vcpus": {"type": "int", "description": ["A."]}}, {"vcpus": {"type": "int"}}) == []
    assert faults(change, {"vcpus": {"type": "int"}}) != []


def examples() -> list[dict[str, t.Any]]:
    """The tasks of this module in its examples and in docs/domains.md."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "domains.md").read_text(encoding="utf-8"), re.M | re.S)
    tasks = [task for text in (kvm_domain.EXAMPLES, *blocks) for task in yaml.safe_load(text)]
    return [task["hypervisor.kvm.kvm_domain"] for task in tasks if "hypervisor.kvm.kvm_domain" in task]


@pytest.mark.parametrize("values", examples(), ids=lambda values: str(values.get("name")))
def test_the_examples_are_accepted(values: dict[str, t.Any]) -> None:
    lists = {"type": "list", "elements": "dict", "options": kvm_domain.OPTIONS}
    check_names(values, {**kvm_domain.OPTIONS, "domains": lists, **URI_OPTION})
    common = {name: value for name, value in values.items() if name not in ("domains", *URI_OPTION)}
    for entry in values.get("domains", [{}]):
        result = ArgumentSpecValidator(kvm_domain.OPTIONS).validate({**common, **entry})
        assert result.error_messages == []
        assert spec.parse(result.validated_parameters)


def check_names(values: dict[str, t.Any], arguments: dict[str, t.Any]) -> None:
    for name, value in values.items():
        assert name in arguments, name
        options = arguments[name].get("options")
        for item in value if isinstance(value, list) else [value]:
            if options is not None:
                check_names(item, options)
