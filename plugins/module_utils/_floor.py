# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The way every state module goes: parse all, observe, compare, (check mode ends here), apply, finish, observe again.

A floor says how its kind of object does each step; this util owns the order, the list form and what happens on errors.
It knows neither AnsibleModule nor any kind of object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError

SpecT = t.TypeVar("SpecT")
ObservedT = t.TypeVar("ObservedT")


@dataclasses.dataclass
class Work(t.Generic[SpecT, ObservedT]):
    """One object on its way through the steps."""

    name: str
    spec: SpecT
    observed: ObservedT | None = None
    changes: ChangeSet | None = None
    applied: bool = False
    error: KvmError | None = None
    facts: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    #: The options that name it, for the results of a list.
    names: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def seen(self) -> ObservedT:
        """What was observed; only to be asked for after that step."""
        if self.observed is None:
            raise RuntimeError(f"{self.name} was not observed")
        return self.observed

    @property
    def plan(self) -> ChangeSet:
        """The compared changes; only to be asked for after that step."""
        if self.changes is None:
            raise RuntimeError(f"{self.name} was not compared")
        return self.changes


class Floor(t.Generic[SpecT, ObservedT]):
    """The rooms of one kind of object, as its module wires them."""

    #: What an object is called in messages ("network").
    kind: str
    #: The option that names an object.
    identity: str = "name"
    #: The option that takes a list of objects.
    list_option: str
    #: Whether ``recognise`` may know a list.
    remembers = False
    #: The options that name an object together, where one does not; then all may be given beside the list as well.
    identities: tuple[str, ...] = ()

    def __init__(self) -> None:
        #: Says what a long step is doing; the module sets it in real runs.
        self.say: t.Callable[[str], None] = lambda _message: None
        #: Whether this is a prediction; for what may be missing only then (``_libvirt.connection.connect``).
        self.check_mode = False

    def prepared(self) -> t.ContextManager[None]:
        """Around everything, also the reading of options: what can be begun before they are known. Reads only."""
        return contextlib.nullcontext()

    def label(self, params: dict[str, t.Any]) -> str:
        """Pure: what an object is called in results; no two of a call have the same."""
        return "/".join(str(params[option]) for option in self.identities or (self.identity,))

    def parse(self, params: dict[str, t.Any]) -> SpecT:
        """Pure: parameters to a validated specification; raises InvalidSpec."""
        raise NotImplementedError

    def check_together(self, specs: t.Sequence[SpecT]) -> None:
        """Pure: what must hold between the objects of one call; raises InvalidSpec."""

    def session(self, params: dict[str, t.Any]) -> t.ContextManager[t.Any]:
        """What the steps need in common (a connection); opened once for all objects."""
        return contextlib.nullcontext()

    def recognise(self, session: t.Any, entries: t.Sequence[dict[str, t.Any]]) -> list[Work[SpecT, ObservedT]]:
        """Reads only: the works, with their facts, of those entries of a list that are known to be as declared.

        ``entries`` are as they were given, not even validated: they are known from an earlier run, in which they were. Only
        for floors that ``remember`` such things.
        """
        return []

    def remember(self, session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]]) -> None:
        """For ``recognise``: these were found or made as declared, with nothing to say about them."""

    def observe(self, session: t.Any, spec: SpecT) -> ObservedT:
        """Reads only."""
        raise NotImplementedError

    def compare(self, spec: SpecT, observed: ObservedT) -> ChangeSet:
        """Pure."""
        raise NotImplementedError

    def apply(self, session: t.Any, work: Work[SpecT, ObservedT]) -> None:
        """Carries out ``work.plan``; the only step that writes."""
        raise NotImplementedError

    def foresee(self, work: Work[SpecT, ObservedT]) -> None:
        """In check mode, where ``apply`` does not come: raises KvmError for what it would find and is known already."""

    def gather(self, session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]]) -> None:
        """Before the facts: what is asked for all objects at once. Reads only."""

    def facts(self, session: t.Any, work: Work[SpecT, ObservedT]) -> dict[str, t.Any]:
        """The return values of one object from what was observed last."""
        return {}

    # The steps over all objects; a floor that can do many at once overrides these.

    def parts(
        self, session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]]
    ) -> t.Iterable[t.Sequence[Work[SpecT, ObservedT]]]:
        """Those that are observed and compared together, before the others are."""
        return [works]

    def begin(self, session: t.Any, work: Work[SpecT, ObservedT]) -> None:
        """In a real run, while others are still compared: may begin with what ``apply_all`` then ends."""

    def observe_all(self, session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]]) -> None:
        """Fills ``work.observed`` of each."""
        for work in works:
            with catch(work):
                work.observed = self.observe(session, work.spec)

    def apply_all(self, session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]]) -> None:
        """Applies each that has changes."""
        for work in works:
            with catch(work):
                work.applied = True
                self.apply(session, work)

    def finish_all(self, session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]]) -> bool:
        """After all is applied (or nothing had to be), real runs only: the waits. May add to ``work.facts``.

        Returns whether the objects may be others now than they were observed before.
        """
        return False


@contextlib.contextmanager
def catch(work: Work[t.Any, t.Any]) -> t.Iterator[None]:
    """An error of one object is that object's alone: the others go on."""
    try:
        yield
    except KvmError as exc:
        work.error = exc


def parse_all(
    floor: Floor[SpecT, ObservedT],
    entries: t.Sequence[dict[str, t.Any]],
    known: t.Sequence[Work[SpecT, ObservedT]] = (),
) -> list[Work[SpecT, ObservedT]]:
    """Validates every object before any is touched; one InvalidSpec names all that is wrong. ``known`` are others of the call,
    which were recognised."""
    works: list[Work[SpecT, ObservedT]] = []
    wrong: list[str] = []
    names: set[str] = set()
    for number, entry in enumerate(entries, 1):
        lacking = [option for option in floor.identities or (floor.identity,) if not entry.get(option)]
        name = floor.label(entry) if not lacking else ""
        if lacking:
            wrong.append(f"An entry of {floor.list_option} has no {lacking[0]} (number {number}).")
        elif name in names:
            wrong.append(f"{floor.kind} {name} is in {floor.list_option} twice; declare it once.")
        else:
            names.add(name)
            try:
                names_of = {option: str(entry[option]) for option in floor.identities or (floor.identity,)}
                works.append(Work(name, floor.parse(entry), names=names_of))
            except InvalidSpec as exc:
                wrong.append(exc.message)
    if wrong:
        raise InvalidSpec(" ".join(wrong))
    floor.check_together([work.spec for work in (*known, *works)])
    return works


def converge(
    floor: Floor[SpecT, ObservedT], session: t.Any, works: t.Sequence[Work[SpecT, ObservedT]], check_mode: bool
) -> None:
    """Takes all objects through the steps; errors end up in ``work.error``."""
    for part in floor.parts(session, works):
        floor.observe_all(session, part)
        for work in _sound(part):
            with catch(work):
                work.changes = floor.compare(work.spec, work.seen)
                if not check_mode and work.plan:
                    floor.begin(session, work)
    if check_mode:
        for work in _sound(works):
            with catch(work):
                floor.foresee(work)
    else:
        changed = [work for work in _sound(works) if work.plan]
        floor.apply_all(session, changed)
        waited = floor.finish_all(session, _sound(works))
        if changed or waited:
            # All of them: what was done to one object may show in another.
            floor.observe_all(session, _sound(works))
    floor.gather(session, _sound(works))
    for work in _sound(works):
        with catch(work):
            work.facts = {**floor.facts(session, work), **work.facts}
    if floor.remembers and not check_mode:
        floor.remember(session, [work for work in _sound(works) if _is_as_declared(work)])


def _is_as_declared(work: Work[t.Any, t.Any]) -> bool:
    return (work.applied or not work.plan) and not (work.plan.restart_required or work.warnings)


def _sound(works: t.Sequence[Work[SpecT, ObservedT]]) -> list[Work[SpecT, ObservedT]]:
    return [work for work in works if work.error is None]
