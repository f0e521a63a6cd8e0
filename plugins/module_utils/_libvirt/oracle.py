# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The oracle: what libvirt makes of a document, asked without defining anything.

A process of its own runs libvirt's qemu driver on a folder of its own (``qemu:///embed``), so that a prediction is
what the daemon would do: its rewriting, its defaults and its refusals.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import oracle_folder, oracle_program
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import translated

try:
    import libvirt
except ImportError:
    # connection.require_libvirt() reports it before anything here is called.
    libvirt = None

#: Seconds: the first start ever asks the qemu programs what they can do, again for each one not asked before.
_START, _ANSWER = 180.0, 180.0
#: How often it may end in the middle of its work, in one round of questions.
_BREAKS = 5
#: Seconds for what the schema says of a document, and how many of those may pass in vain: with some documents libvirt compares
#: the ways to understand them for hours, and the answer is worth a warning only.
_OBJECTION, _VAIN = 3.0, 3
_PROGRAM = "import sys; sys.path[:0] = sys.argv.pop().split(':'); from {module} import main; main()"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What libvirt makes of a document: its normal form, else its ``error`` and the number of that; nothing of them when
    nobody knows."""

    document: str | None
    error: str | None = None
    code: int = 0


class Oracle:
    """A process that knows; it starts at the first question and ends with ``close``."""

    def __init__(self, connection: t.Any) -> None:
        self._why = _unusable(connection)
        self._process: _command.Conversation | None = None
        self._folder: oracle_folder.Folder | None = None
        self._vain = 0

    @property
    def why_not(self) -> str | None:
        """Why it cannot be asked; None when it can (as far as is known: ``ask`` may find out)."""
        return self._why

    def ask(self, documents: t.Sequence[str]) -> list[Answer] | None:
        """The normal forms of documents; None when there is no oracle (``why_not`` says why)."""
        answers = self._put([{"document": document} for document in documents])
        if answers is None:
            return None
        return [Answer(answer.get("document"), answer.get("error"), int(answer.get("code", 0))) for answer in answers]

    def objections(self, documents: t.Sequence[str]) -> list[str | None]:
        """What libvirt's schema has against documents that libvirt accepts; None for nothing (or when nobody says it in time)."""
        return [self._objection(document) for document in documents]

    def _objection(self, document: str) -> str | None:
        if self._vain >= _VAIN:
            return None
        answers: list[dict[str, t.Any]] = []
        try:
            self._hear([json.dumps({"document": document, "validate": True})], answers, _OBJECTION)
        except (KvmError, OSError):
            self._vain += 1
            self.close()
        return answers[0].get("error") if answers else None

    def _put(self, questions: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]] | None:
        lines = [json.dumps(question) for question in questions]
        answers: list[dict[str, t.Any]] = []
        stuck, broken = -1, 0
        while len(answers) < len(lines) and self._why is None:
            try:
                self._hear(lines, answers, _ANSWER)
            except (KvmError, OSError) as exc:
                broken += 1
                if self._why is not None or self._process is None or broken > _BREAKS:
                    self._why = self._why or str(exc)
                elif stuck == len(answers):
                    # libvirt itself falls over this one: nobody knows.
                    answers.append({})
                stuck = len(answers)
                self.close()
        return answers if self._why is None else None

    def _hear(self, lines: list[str], answers: list[dict[str, t.Any]], seconds: float) -> None:
        process = self._started()
        if process is not None:
            process.tell(lines[len(answers) :])
            while len(answers) < len(lines):
                answers.append(json.loads(process.hear(seconds)))

    def _started(self) -> _command.Conversation | None:
        if self._process is None and self._why is None:
            self._folder = oracle_folder.make()
            program = _PROGRAM.format(module=oracle_program.__name__)
            # The module may run from an archive that only its own process has in its path.
            argv = [sys.executable, "-c", program, self._folder.root, ":".join(path for path in sys.path if path)]
            self._process = _command.converse(argv)
            try:
                self._why = json.loads(self._process.hear(_START)).get("error")
            except KvmError as exc:
                self._why = exc.message
                raise
        return self._process if self._why is None else None

    def close(self) -> None:
        """Ends the process and removes its folder."""
        if self._process is not None:
            self._process.end()
            self._process = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None


def _unusable(connection: t.Any) -> str | None:
    if connection is None:
        return "there is no connection"
    with translated("Cannot read the URI and the version of libvirt"):
        uri, daemon = str(connection.getURI()), int(connection.getLibVersion())
    if uri != "qemu:///system":
        return f"the connection is {uri}, and only what qemu:///system makes of a document can be asked here"
    if daemon != libvirt.getVersion():
        return f"the daemon's version ({daemon}) is not the library's ({libvirt.getVersion()}); restart the daemon"
    if os.geteuid() != 0:
        return "only root can ask what the daemon would make of a document"
    return None
