# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The glue to Ansible: arguments in, results out, errors to ``fail_json``. The only util that knows AnsibleModule."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibraryMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, converge, parse_all
from ansible_collections.hypervisor.kvm.plugins.module_utils._progress import teller

URI_OPTION: dict[str, t.Any] = {"uri": {"type": "str", "default": "qemu:///system"}}


def run(
    floor: Floor[t.Any, t.Any],
    options: dict[str, t.Any],
    common: dict[str, t.Any] | None = None,
) -> None:
    """Runs a state module to its exit.

    ``options`` are the options of one object; they are accepted at the top level and in each entry of the floor's
    list option, and what stands beside the list is the default of its entries. So they have no defaults here: None
    is "not stated", and the specification knows the defaults. ``common`` are options of the call (``uri``).
    """
    module = AnsibleModule(
        argument_spec={
            **options,
            **(common or {}),
            floor.list_option: {"type": "list", "elements": "dict", "options": options},
        },
        mutually_exclusive=[(floor.identity, floor.list_option)],
        required_one_of=[(floor.identity, floor.list_option)],
        supports_check_mode=True,
    )
    entries = _entries(module.params, floor, options)
    floor.check_mode = module.check_mode
    if not module.check_mode:
        floor.say = teller(module.log, module._name)
    works: list[Work[t.Any, t.Any]] = []
    try:
        works = parse_all(floor, entries)
        with floor.session(module.params) as session:
            converge(floor, session, works, module.check_mode)
    except KvmError as exc:
        _fail(module, exc, **_results(works, floor, module))
    _exit(module, floor, works)


def run_info(options: dict[str, t.Any], read: t.Callable[[dict[str, t.Any], bool], dict[str, t.Any]]) -> None:
    """Runs an info module: ``read(params, check_mode)`` gives its return values; it never changes anything.

    Check mode matters only on a machine before its first run (``_libvirt.connection.connect``).
    """
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    try:
        result = read(module.params, module.check_mode)
    except KvmError as exc:
        _fail(module, exc)
    module.exit_json(changed=False, **result)


def _entries(params: dict[str, t.Any], floor: Floor[t.Any, t.Any], options: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    defaults = {name: params[name] for name in options if params.get(name) is not None}
    listed = params.get(floor.list_option)
    if listed is None:
        return [defaults]
    return [{**defaults, **{key: value for key, value in entry.items() if value is not None}} for entry in listed]


def _result(work: Work[t.Any, t.Any], diff: bool) -> dict[str, t.Any]:
    # Not `or`: a set without changes is false, and may still know of a pending restart.
    changes = ChangeSet(work.name) if work.changes is None else work.changes
    result: dict[str, t.Any] = {
        "changed": bool(changes) and (work.error is None or work.applied),
        "changes": changes.results(),
        "restart_required": changes.restart_required,
        **work.facts,
    }
    if diff:
        result["diff"] = changes.diff()
    if work.error is not None:
        result.update({"failed": True, "msg": work.error.message, **work.error.details})
    return result


def _results(
    works: t.Sequence[Work[t.Any, t.Any]], floor: Floor[t.Any, t.Any], module: AnsibleModule
) -> dict[str, t.Any]:
    """The return values of the call from those of its objects."""
    singles = [_result(work, module._diff) for work in works]
    together: dict[str, t.Any] = {
        "changed": any(single["changed"] for single in singles),
        "changes": [change for single in singles for change in single["changes"]],
        "restart_required": [entry for single in singles for entry in single["restart_required"]],
    }
    if module._diff:
        together["diff"] = [entry for single in singles for entry in single["diff"]]
    if module.params.get(floor.list_option) is not None:
        named = zip(works, singles)
        together["results"] = [{floor.identity: work.name, **single} for work, single in named]
    elif singles:
        together = {**singles[0], **together}
    return together


def _exit(module: AnsibleModule, floor: Floor[t.Any, t.Any], works: t.Sequence[Work[t.Any, t.Any]]) -> None:
    for work in works:
        for warning in work.warnings:
            module.warn(warning)
    result = _results(works, floor, module)
    failed = [work for work in works if work.error is not None]
    if not failed:
        module.exit_json(**result)
    result.pop("failed", None)
    if len(works) == 1 and failed[0].error is not None:
        _fail(module, failed[0].error, **result)
    sentences = " ".join(f"{work.name}: {work.error.message}" for work in failed if work.error is not None)
    result.pop("msg", None)
    module.fail_json(msg=f"{len(failed)} of {len(works)} failed. {sentences}", **result)


def _fail(module: AnsibleModule, error: KvmError, **result: t.Any) -> t.NoReturn:
    result = {**result, **error.details}
    result.pop("msg", None)
    if isinstance(error, LibraryMissing) and error.trace:
        result["exception"] = error.trace
    module.fail_json(msg=error.message, **result)
    raise SystemExit(1)  # fail_json does not return; this tells the type checker so
