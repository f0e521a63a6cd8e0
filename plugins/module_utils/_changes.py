# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Changes: the one record from which ``changed``, ``diff``, ``changes`` and ``restart_required`` come."""

from __future__ import annotations

import dataclasses
import typing as t

#: How a change reaches the object: at once, at its next start, or only by making the object anew.
Effect = t.Literal["live", "next_boot", "recreate"]

#: A text, or what makes it.
Text = t.Union[str, t.Callable[[], str]]

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference between what is and what is wanted. ``before``/``after`` are plain data (None = not there)."""

    object: str
    field: str
    before: t.Any
    after: t.Any
    effect: Effect = "live"
    secret: bool = False

    def result(self) -> dict[str, t.Any]:
        """The entry of ``changes``; the values of a secret are hidden, that it changes is not."""
        before, after = self.before, self.after
        if self.secret:
            before, after = (None if value is None else HIDDEN for value in (before, after))
        return {"object": self.object, "field": self.field, "before": before, "after": after, "effect": self.effect}


def _text(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
    return str(value)


def _lines(field: str, value: t.Any) -> str:
    """A field as lines of a diff: a list has a line an item, so that one changed item shows as one line."""
    if value is None:
        return ""
    if isinstance(value, str) and "\n" in value.strip("\n"):
        return f"{field}:\n" + "".join(f"  {line}\n" for line in value.splitlines())
    if isinstance(value, (list, tuple)):
        return f"{field}:\n" + "".join(f"  - {_text(item)}\n" for item in value)
    return f"{field}: {_text(value)}\n"


class ChangeSet:
    """The changes of one object, in the order in which they were found.

    ``plan`` carries what the apply room of the floor needs besides the changes themselves (a document to define,
    lines to write): the same in check mode and in a real run, because both build it.
    """

    def __init__(self, name: str, plan: t.Any = None) -> None:
        self.object = name
        self.plan = plan
        #: Whether applying the changes restarts the object, so that nothing is left to wait for.
        self.restarts = False
        self.changes: list[Change] = []
        self._pending: list[str] = []
        self._pending_is_all = False
        self._documents: list[tuple[str, Text, Text]] = []

    def add(self, field: str, before: t.Any, after: t.Any, effect: Effect = "live", *, secret: bool = False) -> None:
        """Records a difference."""
        self.changes.append(Change(self.object, field, before, after, effect, secret))

    def compare(
        self, field: str, before: t.Any, after: t.Any, effect: Effect = "live", *, secret: bool = False
    ) -> bool:
        """Records a difference if there is one; an ``after`` of None means "not stated" and never differs."""
        if after is None or before == after:
            return False
        self.add(field, before, after, effect, secret=secret)
        return True

    def require_restart(self, field: str) -> None:
        """Notes a field that is persistent already but waits for the next start of the object."""
        if field not in self._pending:
            self._pending.append(field)

    def waits_for_start(self, fields: t.Iterable[str]) -> None:
        """Says all that waits for the next start, also of what is changed: the same then as when nothing is changed any more."""
        self._pending = sorted(set(fields))
        self._pending_is_all = True

    def postpone(self) -> None:
        """Takes out what only the next start would bring: nothing is there to write it down, so it waits."""
        self.changes = [change for change in self.changes if change.effect != "next_boot"]
        self._documents = []

    def only(self, holds: t.Callable[[Change], bool], *, documents: bool) -> None:
        """Takes out what has not come about after all; ``documents``: whether those have."""
        self.changes = [change for change in self.changes if holds(change)]
        self._documents = self._documents if documents else []

    def document(self, header: str, before: Text, after: Text) -> None:
        """Adds a whole text (XML, rules, a file) to the diff, beside the fields; a function makes it when it is asked for."""
        if before != after:
            self._documents.append((header, before, after))

    def document_is(self, header: str, after: Text) -> None:
        """Says what a document of the diff has really become."""
        found = [entry for entry in self._documents if entry[0] == header]
        self._documents = [entry for entry in self._documents if entry[0] != header]
        for _header, before, _after in found:
            self.document(header, before, after)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def has(self, *fields: str) -> bool:
        """Whether one of the fields is among the changes."""
        return any(change.field in fields for change in self.changes)

    @property
    def restart_required(self) -> list[dict[str, t.Any]]:
        """``[{object, fields}]`` of what only the next start brings; empty when the task itself restarts the object."""
        changed = [change.field for change in self.changes if change.effect == "next_boot" and not self._pending_is_all]
        fields = [*changed, *(field for field in self._pending if field not in changed)]
        return [{"object": self.object, "fields": fields}] if fields and not self.restarts else []

    def results(self) -> list[dict[str, t.Any]]:
        """The entries of the return value ``changes``."""
        return [change.result() for change in self.changes]

    def diff(self) -> list[dict[str, str]]:
        """The entries of ``diff`` in Ansible's form: the changed fields, then each changed document."""
        entries: list[dict[str, str]] = []
        if self.changes:
            shown = [change.result() for change in self.changes]
            entries.append(
                {
                    "before_header": self.object,
                    "after_header": self.object,
                    "before": "".join(_lines(change["field"], change["before"]) for change in shown),
                    "after": "".join(_lines(change["field"], change["after"]) for change in shown),
                }
            )
        for header, *texts in self._documents:
            before, after = (text() if callable(text) else text for text in texts)
            if before == after:
                continue
            entries.append({"before_header": header, "after_header": header, "before": before, "after": after})
        return entries
