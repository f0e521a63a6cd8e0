# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: the text in which LVM2 describes a volume group (the format of vgcfgbackup, lvm.conf(5)'s syntax).

A section is ``name { ... }``, a setting ``name = value``, a value a number, a word in quotes or a flat list of both in
square brackets; ``#`` begins a comment.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import clean

Item = t.Union[int, str]
Value = t.Union[int, str, list[Item], "Section"]

#: LVM2's metadata areas have 1 MiB unless somebody asked for another size.
LARGEST = 4 * 1024 * 1024
# A volume group, its logical_volumes, one of them, its segment: four.
_DEEPEST = 8
# Words, marks, escapes and comments. A volume of one segment has about 60.
_MOST_PIECES = 500_000
# A comment, a mark, a word, the beginning of a string, or nothing at the end; one of them always follows the blanks.
_TOKEN = re.compile(rb"[ \t\r\n\v\f]*(?:(#[^\n]*)|([{}\[\],=])|([^ \t\r\n\v\f#{}\[\],=\"]+)|(\")|\Z)")
_COMMENT, _MARK, _WORD, _STRING = 1, 2, 3, 4
_END_OF_STRING = re.compile(rb"[\"\\]")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,19}")


class Section:
    """The settings and sections between two braces by their names, and what is expected of them.

    ``what`` names the section in the errors. All getters raise Damaged for what is missing or of another kind.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.values: dict[str, Value] = {}

    def sections(self) -> dict[str, Section]:
        """The sections in here, in the order of the text."""
        return {name: value for name, value in self.values.items() if isinstance(value, Section)}

    def section(self, name: str) -> Section:
        """A section that must be there."""
        value = self.values.get(name)
        if not isinstance(value, Section):
            raise Damaged(f"{self.what} has no section {name}")
        return value

    def number(self, name: str, most: int = (1 << 32) - 1) -> int:
        """A number from 0 to ``most``."""
        value = self.values.get(name)
        if not isinstance(value, int):
            raise Damaged(f"{self.what} has no number {name}")
        if not 0 <= value <= most:
            raise Damaged(f"{self.what} says that its {name} is {value}")
        return value

    def text(self, name: str) -> str:
        """A word in quotes."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise Damaged(f"{self.what} has no {name}")
        return value

    def items(self, name: str) -> list[Item]:
        """A list, a single value as a list of one (as LVM2 takes it), nothing as an empty one."""
        value = self.values.get(name, [])
        if isinstance(value, Section):
            raise Damaged(f"{self.what} has a section where its list {name} should be")
        return value if isinstance(value, list) else [value]


def parse(raw: bytes) -> Section:
    """The text as a section without a name; raises Damaged where it is none, Unsupported for one beyond all measure."""
    if len(raw) > LARGEST:
        raise Unsupported(f"the description of a volume group of {len(raw)} bytes is too long to be read here")
    top = Section("the description of the volume group")
    _Parser(raw).fill(top, 0)
    return top


class _Parser:
    """Reads token by token; a token is its kind (a mark, ``word``, ``string``, ``end``) and its text."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0
        self._left = _MOST_PIECES

    def fill(self, section: Section, depth: int) -> None:
        """Everything up to the brace that ends the section, or to the end of the text for the outermost one."""
        if depth > _DEEPEST:
            raise Damaged("the description of the volume group has sections in sections without end")
        while True:
            kind, name = self._token()
            if kind == ("}" if depth else "end"):
                return
            if kind not in ("word", "string"):
                raise self._nonsense(kind)
            if name in section.values:
                raise Damaged(f"{section.what} has {_shown(name)} twice")
            section.values[name] = self._value(name, depth)

    def _value(self, name: str, depth: int) -> Value:
        kind, _text = self._token()
        if kind == "{":
            inner = Section(f"{_shown(name)} in the description of the volume group")
            self.fill(inner, depth + 1)
            return inner
        if kind != "=":
            raise self._nonsense(kind)
        kind, text = self._token()
        return self._list() if kind == "[" else self._item(kind, text)

    def _list(self) -> list[Item]:
        found: list[Item] = []
        kind, text = self._token()
        while kind != "]":
            found.append(self._item(kind, text))
            kind, text = self._token()
            if kind == ",":
                kind, text = self._token()
            elif kind != "]":
                raise self._nonsense(kind)
        return found

    def _item(self, kind: str, text: str) -> Item:
        if kind == "string":
            return text
        if kind != "word":
            raise self._nonsense(kind)
        # A fraction stays text: nothing that is read here is one.
        if _NUMBER.fullmatch(text):
            return int(text)
        if text.lstrip("-").isdigit():
            raise Damaged(f"the description of the volume group has a number of {len(text)} digits")
        return text

    def _token(self) -> tuple[str, str]:
        found = self._match()
        while found.lastindex == _COMMENT:
            found = self._match()
        if found.lastindex == _MARK:
            return found[_MARK].decode("ascii"), ""
        if found.lastindex == _WORD:
            return "word", found[_WORD].decode("utf-8", "surrogateescape")
        return ("string", self._string()) if found.lastindex == _STRING else ("end", "")

    def _match(self) -> re.Match[bytes]:
        self._spend()
        found = t.cast("re.Match[bytes]", _TOKEN.match(self._raw, self._at))
        self._at = found.end()
        return found

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Unsupported(f"the description of the volume group has more than {_MOST_PIECES} words")

    def _string(self) -> str:
        # By hand: a regular expression keeps a note for every escape that it may have to go back to.
        start = at = self._at
        while True:
            stop = _END_OF_STRING.search(self._raw, at)
            if stop is None:
                raise Damaged("the description of the volume group has a quotation mark without its other one")
            if stop[0] == b'"':
                break
            self._spend()
            at = stop.end() + 1
        self._at = stop.end()
        return _ESCAPE.sub(rb"\1", self._raw[start : stop.start()]).decode("utf-8", "surrogateescape")

    def _nonsense(self, kind: str) -> Damaged:
        if kind == "end":
            return Damaged("the description of the volume group ends in the middle")
        return Damaged(f"the description of the volume group makes no sense at its byte {self._at} (a {kind})")


def _shown(name: str) -> str:
    return clean(name[:64])
