# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Text that comes from guests: made harmless, for a person's terminal and for a program's eyes. Pure."""

from __future__ import annotations

import re

#: What a terminal would take for commands: CSI and OSC sequences, and the short ones.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])")
_ENDS = re.compile(r"\r\n|\n\r|[\n\r]")
#: A guest decides how long its lines are.
WIDEST = 1000


def clean(line: str) -> str:
    """A line without terminal commands and without characters that do more than being seen."""
    return "".join(char for char in _ESCAPE.sub("", line).expandtabs(8) if char.isprintable())


def pieces(data: bytes) -> list[str]:
    """The clean lines of what a console has printed, as long as they are and with the spaces at their ends."""
    return [clean(line) for line in _ENDS.split(data.decode("utf-8", "replace"))]


def lines(data: bytes) -> list[str]:
    """The clean lines for a person; those that show nothing are left out."""
    found = [line for line in (piece.rstrip() for piece in pieces(data)) if line]
    return [line if len(line) <= WIDEST else line[:WIDEST] + "..." for line in found]
