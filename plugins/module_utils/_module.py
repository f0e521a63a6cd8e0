# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The glue to Ansible: arguments in, results out, errors to ``fail_json``. The only util that knows AnsibleModule."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import sys
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibraryMissing
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, converge, parse_all
from ansible_collections.hypervisor.kvm.plugins.module_utils._progress import teller

#: The return values of a call with a list that grow with it.
_OF_EACH = ("results", "changes", "restart_required", "diff")
#: New objects after which Python looks for garbage; usually 700. There is so little that a process does not grow by it.
_COLLECTED_AFTER = 500_000
#: The verbosity (-vvv) at which Ansible shows the arguments of a call, and what stands for its lists below that.
_TELLS_ARGUMENTS, _LEFT_OUT = 3, "left out; -vvv tells it"
URI_OPTION: dict[str, t.Any] = {"uri": {"type": "str", "default": "qemu:///system"}}


class _Module(AnsibleModule):  # type: ignore[misc]  # Ansible is not typed
    """A module for lists of very many objects.

    The log of its start has no such lists: they may hold passwords, which only validation finds. Its results are searched
    for passwords only when there are any, for that takes longer than all else that is done for objects as they should be.
    """

    params: dict[str, t.Any]

    def __init__(self, **facts: t.Any) -> None:
        #: The lists of objects as they were given.
        self._lists: dict[str, t.Any] = {}
        super().__init__(**facts)
        self.params.update(self._lists)

    def _load_params(self) -> None:
        """Lists of dictionaries are spared Ansible's first look at them, which copies them to find that they are such."""
        super()._load_params()
        for name, value in self.params.items():
            listing = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
            if listing and _is_listing(self.argument_spec.get(name)):
                self._lists[name] = value
        self.params.update({name: [] for name in self._lists})

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        with self._apart(result):
            super().exit_json(**result)
        raise SystemExit(0)  # exit_json does not return; this tells the type checker so

    def fail_json(self, msg: str, **result: t.Any) -> t.NoReturn:
        with self._apart(result):
            super().fail_json(msg=msg, **result)
        raise SystemExit(1)

    @contextlib.contextmanager
    def _apart(self, result: dict[str, t.Any]) -> t.Iterator[None]:
        """Takes what there is of each object out of a result, and adds it to the JSON that Ansible makes of the rest."""
        if self.no_log_values or "results" not in result:
            yield
            return
        large = {name: result.pop(name) for name in _OF_EACH if name in result}
        # Whoever asks for that much sees the lists as they were given; for all others they are half of what is sent back.
        told = self._lists if self._verbosity >= _TELLS_ARGUMENTS else dict.fromkeys(self._lists, _LEFT_OUT)
        large["invocation"] = {"module_args": {**self.params, **told}}
        result["invocation"] = {}
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                yield
        except SystemExit:
            sys.stdout.write(f"\n{json.dumps({**json.loads(said.getvalue()), **large})}\n")
            raise

    def _log_invocation(self) -> None:
        everything = self.params
        self.params = {
            name: value for name, value in everything.items() if not _is_listing(self.argument_spec.get(name))
        }
        try:
            super()._log_invocation()
        finally:
            self.params = everything


def _is_listing(option: dict[str, t.Any] | None) -> bool:
    """Whether it is a list of objects, whose options AnsibleModule does not know."""
    return option is not None and option.get("elements") == "dict" and "options" not in option


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
    with _seldom_collected(), floor.prepared():
        _run(floor, options, common)


@contextlib.contextmanager
def _seldom_collected() -> t.Iterator[None]:
    """Python looks for garbage less often: with thousands of objects that takes a tenth of the time, and finds next to nothing."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AFTER, *before[1:])
    try:
        yield
    finally:
        # All that there is counts as old, or it would be looked through now, just before the process ends.
        gc.freeze()
        gc.unfreeze()
        gc.set_threshold(*before)


def _run(floor: Floor[t.Any, t.Any], options: dict[str, t.Any], common: dict[str, t.Any] | None) -> None:
    names = [(name, floor.list_option) for name in floor.identities or (floor.identity,)]
    module = _Module(
        argument_spec={
            **options,
            **(common or {}),
            # Without the options of its entries, which are validated below.
            floor.list_option: {"type": "list", "elements": "dict"},
        },
        mutually_exclusive=[] if floor.identities else names,
        required_one_of=names,
        supports_check_mode=True,
    )
    floor.check_mode = module.check_mode
    if not module.check_mode:
        floor.say = teller(module.log, module._name)
    works: list[Work[t.Any, t.Any]] = []
    try:
        with contextlib.ExitStack() as opened:
            session: t.Any = None
            known: dict[str, Work[t.Any, t.Any]] = {}
            listed = module.params.get(floor.list_option) or []
            if floor.remembers and listed:
                session = opened.enter_context(floor.session(module.params))
                known = _recognised(module, floor, options, session)
            if known:
                module.params[floor.list_option] = [entry for entry in listed if entry[floor.identity] not in known]
            _validate(module, floor.list_option, options)
            fresh = parse_all(floor, _entries(module.params, floor, options), list(known.values()))
            works = _in_order(floor, listed, known, fresh) if known else fresh
            if session is None:
                session = opened.enter_context(floor.session(module.params))
            if fresh or not known:
                converge(floor, session, fresh, module.check_mode)
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


def _recognised(
    module: AnsibleModule, floor: Floor[t.Any, t.Any], options: dict[str, t.Any], session: t.Any
) -> dict[str, Work[t.Any, t.Any]]:
    """The works of those entries of the list that are known; nothing that holds a secret ever is."""
    listed = module.params[floor.list_option]
    named = [entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get(floor.identity), str)]
    if module.no_log_values or len({entry[floor.identity] for entry in named}) < len(listed):
        # Of a list that cannot be, all is to be validated.
        return {}
    entries = [entry for entry in _entries(module.params, floor, options) if not _has_secret(options, entry)]
    return {work.name: work for work in floor.recognise(session, entries)}


def _in_order(
    floor: Floor[t.Any, t.Any],
    listed: t.Sequence[dict[str, t.Any]],
    known: dict[str, Work[t.Any, t.Any]],
    fresh: t.Sequence[Work[t.Any, t.Any]],
) -> list[Work[t.Any, t.Any]]:
    found = {**known, **{work.name: work for work in fresh}}
    return [found[entry[floor.identity]] for entry in listed]


def _has_secret(options: dict[str, t.Any], entry: dict[str, t.Any]) -> bool:
    for name, value in entry.items():
        option = options.get(name, {})
        if option.get("no_log") and value is not None:
            return True
        inner = option.get("options")
        if inner:
            items = value if isinstance(value, list) else [value]
            if any(isinstance(item, dict) and _has_secret(inner, item) for item in items):
                return True
    return False


def _validate(module: AnsibleModule, listed: str, options: dict[str, t.Any]) -> None:
    """Validates the entries of the list option, by Ansible's own validator, against the options that they state.

    For a thousand entries with a few of hundreds of options this takes a tenth of what AnsibleModule takes.
    """
    entries = module.params.get(listed)
    if not entries:
        return
    fresh = _first_stated(entries)
    wanted = {"type": "list", "elements": "dict", "options": _stated(options, fresh)}
    try:
        result = ArgumentSpecValidator({listed: wanted}).validate({listed: fresh})
        if result.error_messages:
            # Once more with all of them, for a message that names what there is.
            fresh = entries
            result = ArgumentSpecValidator({listed: {**wanted, "options": options}}).validate({listed: entries})
    except TypeError as exc:
        # Of Ansible's own: a number or a truth value where a dictionary has to be. What is secret was not looked for yet.
        module.params[listed] = None
        module.fail_json(msg=f"An entry of {listed} has a plain value where a dictionary is expected ({exc}).")
    module.no_log_values.update(result._no_log_values)
    if result.error_messages:
        message = result.errors.msg
        if isinstance(result.errors[0], UnsupportedError):
            message = f"Unsupported parameters for ({module._name}) module: {message}"
        module.fail_json(msg=message)
    validated = _whole(entries, fresh, result.validated_parameters[listed])
    module.params[listed] = [_filled(options, entry) for entry in validated]


def _first_stated(entries: t.Sequence[t.Any]) -> list[t.Any]:
    """The entries without what an earlier one states word for word: most entries of a long list are much alike."""
    seen: set[tuple[str, str]] = set()
    found: list[t.Any] = []
    for entry in entries:
        if not isinstance(entry, dict):
            return list(entries)
        fresh = {name: value for name, value in entry.items() if (name, repr(value)) not in seen}
        seen.update((name, repr(value)) for name, value in fresh.items())
        found.append(fresh)
    return found


def _whole(
    entries: t.Sequence[dict[str, t.Any]], fresh: t.Sequence[dict[str, t.Any]], validated: t.Sequence[dict[str, t.Any]]
) -> t.Iterator[dict[str, t.Any]]:
    """The entries of which ``fresh`` ones were validated, with all that they state."""
    known: dict[tuple[str, str], t.Any] = {}
    for entry, part, values in zip(entries, fresh, validated):
        whole = {}
        for name, value in entry.items():
            if name in part:
                whole[name] = known[name, repr(value)] = values[name]
            else:
                whole[name] = known[name, repr(value)]
        yield whole


def _stated(options: dict[str, t.Any], entries: t.Sequence[t.Any]) -> dict[str, t.Any]:
    """The options of which at least one entry states something, or which every entry has to state."""
    below: dict[str, list[t.Any]] = {name: [] for name, option in options.items() if option.get("required")}
    for entry in entries:
        for name in entry if isinstance(entry, dict) else ():
            value = entry[name]
            below.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return {
        name: {**options[name], "options": _stated(options[name]["options"], found)}
        if options[name].get("options")
        else options[name]
        for name, found in below.items()
        if name in options
    }


def _filled(options: dict[str, t.Any], entry: dict[str, t.Any]) -> dict[str, t.Any]:
    """The entry with None for what it does not state, as AnsibleModule has it."""
    filled = {**dict.fromkeys(options), **entry}
    for name, value in entry.items():
        inner = options[name].get("options")
        if inner and isinstance(value, dict):
            filled[name] = _filled(inner, value)
        elif inner and isinstance(value, list):
            filled[name] = [_filled(inner, item) for item in value]
    return filled


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
        together["results"] = [{**(work.names or {floor.identity: work.name}), **single} for work, single in named]
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
