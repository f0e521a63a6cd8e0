# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: regular expressions of a guest's file contexts, matched in a time that the guest cannot choose. Pure.

Python's own engine goes back and forth, and a nested repetition makes it hang for years. Here all ways are followed at
once (Thompson's construction), which takes at most the length of the path times the size of the expression. What the
policies of distributions do not use (back references, look-around) is Unsupported, never guessed.
"""

from __future__ import annotations

import re
import string
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Unsupported

_MAX_TEXT = 2048
_MAX_DEPTH = 20
_MAX_STATES = 8192
# What is repeated is read anew each time.
_MAX_READ = 32768
_REPEAT = re.compile(r"\{([0-9]{1,4})(?:(,)([0-9]{0,4}))?\}")
_CLASS = re.compile(r"\[:([a-z]+):\]")
# What stands for itself; a letter or digit behind a backslash may mean anything.
_LITERAL = re.compile(r"(?:[^.^$?*+|\[({\\]|\\[\W_])*")
_CLASSES = {
    "alpha": string.ascii_letters,
    "digit": string.digits,
    "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
    "space": " \t\n\r\f\v",
    "punct": string.punctuation,
    "word": string.ascii_letters + string.digits + "_",
}
_ESCAPES = {"d": "digit", "w": "word", "s": "space"}

#: Whether a character is taken.
_Test = t.Callable[[str], bool]


class Budget:
    """Steps that may still be made; raises Unsupported when they are used up."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Unsupported("the file contexts of its SELinux policy are too complicated to be searched")


def literal(text: str) -> str | None:
    """The text that an expression without special characters stands for; None when it has some."""
    prefix, rest = _split(text)
    return prefix if not rest else None


def prefix(text: str) -> str:
    """What everything that matches begins with."""
    found, rest = _split(text)
    # The last character may be there not at all.
    return found[:-1] if rest[:1] in ("?", "*", "{") else found


def _split(text: str) -> tuple[str, str]:
    match = _LITERAL.match(text)
    place = match.end() if match is not None else 0
    return re.sub(r"\\(.)", r"\1", text[:place], flags=re.S), text[place:]


def matches(expression: str, text: str, budget: Budget) -> bool:
    """Whether the whole ``text`` is matched; raises Unsupported for an expression that is not understood here."""
    budget.spend(len(expression))
    machine = _Machine(expression)
    budget.spend(machine.size)
    states = machine.closure([machine.start])
    for character in text:
        budget.spend(1 + len(states))
        after = [state.next for state in states if state.test is not None and state.test(character)]
        states = machine.closure(after)
        if not states:
            return False
    return machine.end in states


class _State:
    """Takes one character to ``next``, or goes on to ``ways`` without one."""

    __slots__ = ("next", "test", "ways")

    def __init__(self) -> None:
        self.test: _Test | None = None
        self.next: _State = self
        self.ways: list[_State] = []


#: Where a part begins and ends.
_Part = tuple[_State, _State]


class _Machine:
    """The states of one expression."""

    def __init__(self, expression: str) -> None:
        if len(expression) > _MAX_TEXT:
            raise Unsupported(
                f"an expression of {len(expression)} characters in the file contexts of its SELinux policy"
            )
        self._text = expression
        # The whole is anchored in any case.
        self._place = int(expression.startswith("^"))
        self._end = len(expression) - expression.endswith("$")
        self._read = 0
        #: The number of states.
        self.size = 0
        self.start, self.end = self._alternatives(0)
        if self._place < self._end:
            raise self._unknown()

    def closure(self, states: t.Iterable[_State]) -> set[_State]:
        """These states and all that follow without a character."""
        found, todo = set(states), list(states)
        while todo:
            for way in todo.pop().ways:
                if way not in found:
                    found.add(way)
                    todo.append(way)
        return found

    def _state(self) -> _State:
        self.size += 1
        if self.size > _MAX_STATES:
            raise self._unknown()
        return _State()

    def _unknown(self) -> Unsupported:
        return Unsupported(f"the expression {self._text[:200]!r} in the file contexts of its SELinux policy")

    def _peek(self) -> str:
        return self._text[self._place : self._place + 1]

    def _take(self) -> str:
        self._read += 1
        if self._read > _MAX_READ:
            raise self._unknown()
        self._place += 1
        return self._text[self._place - 1 : self._place]

    def _alternatives(self, depth: int) -> _Part:
        if depth > _MAX_DEPTH:
            raise self._unknown()
        start, end = self._state(), self._state()
        while True:
            first, last = self._sequence(depth)
            start.ways.append(first)
            last.ways.append(end)
            if self._peek() != "|":
                return start, end
            if depth == 0:
                # The anchors that are put around the whole belong to the outer alternatives only: nobody means that.
                raise self._unknown()
            self._take()

    def _sequence(self, depth: int) -> _Part:
        start = end = self._state()
        while self._place < self._end and self._peek() not in ("|", ")"):
            place = self._place
            first, last = self._atom(depth)
            behind = self._place
            low, high = self._repeat()
            after = self._place
            for number in range(max(low, 1 if high is None else high)):
                if number:
                    # The same text once more, as states of its own.
                    self._place = place
                    first, last = self._atom(depth)
                    if self._place != behind:
                        raise self._unknown()
                end = self._joined(end, first, last, optional=number >= low, again=high is None and number >= low - 1)
            self._place = after
        return start, end

    def _joined(self, end: _State, first: _State, last: _State, *, optional: bool, again: bool) -> _State:
        entry, leave = self._state(), self._state()
        end.ways.append(entry)
        entry.ways.append(first)
        last.ways.append(leave)
        if optional:
            entry.ways.append(leave)
        if again:
            last.ways.append(first)
        return leave

    def _repeat(self) -> tuple[int, int | None]:
        """How often the part before may come; None is without end."""
        counted = _REPEAT.match(self._text, self._place)
        if counted is not None:
            low, comma, high = counted.groups()
            self._place = counted.end()
            found: tuple[int, int | None] = (int(low), int(low) if comma is None else int(high) if high else None)
        else:
            words: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
            if self._peek() not in words:
                return 1, 1
            found = words[self._take()]
        if self._peek() == "?":
            # As few as possible: the same texts match as a whole.
            self._take()
        if self._peek() in ("*", "+", "?") or (found[1] is not None and found[1] < max(found[0], 1)):
            raise self._unknown()
        return found

    def _atom(self, depth: int) -> _Part:
        character = self._take()
        if character == "(":
            return self._group(depth)
        if character in "^$*+?" or (character == "{" and _REPEAT.match(self._text, self._place - 1)):
            raise self._unknown()
        start, end = self._state(), self._state()
        start.next = end
        if character == "[":
            start.test = self._set()
        elif character == ".":
            start.test = lambda _character: True
        else:
            start.test = self._escape().__contains__ if character == "\\" else character.__eq__
        return start, end

    def _group(self, depth: int) -> _Part:
        if self._peek() == "?":
            self._take()
            if self._take() != ":":
                raise self._unknown()
        found = self._alternatives(depth + 1)
        if self._take() != ")":
            raise self._unknown()
        return found

    def _escape(self) -> str:
        """The characters that an escape stands for."""
        character = self._take()
        if character in _ESCAPES:
            return _CLASSES[_ESCAPES[character]]
        if not character or character.isalnum():
            raise self._unknown()
        return character

    def _set(self) -> _Test:
        negative = self._peek() == "^"
        if negative:
            self._take()
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            self._member(singles, ranges)
        self._take()
        return lambda c: (c in singles or any(low <= c <= high for low, high in ranges)) != negative

    def _member(self, singles: set[str], ranges: list[tuple[str, str]]) -> None:
        named = _CLASS.match(self._text, self._place)
        if named is not None:
            if named.group(1) not in _CLASSES:
                raise self._unknown()
            self._place = named.end()
            singles.update(_CLASSES[named.group(1)])
            return
        low = self._take()
        found = self._escape() if low == "\\" else low
        if not found or self._text.startswith(("[.", "[="), self._place - 1):
            raise self._unknown()
        if self._peek() != "-" or self._text[self._place + 1 : self._place + 2] in ("]", ""):
            singles.update(found)
            return
        self._take()
        high = self._take()
        high = self._escape() if high == "\\" else high
        if len(found) != 1 or len(high) != 1 or high < found or high == "[":
            raise self._unknown()
        ranges.append((found, high))
