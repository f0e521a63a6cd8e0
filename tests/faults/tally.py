# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program of the fault tests counts, and the plain line that it ends with."""

from __future__ import annotations

import contextlib
import typing as t


class Tally:
    """``name: N passed, M failed``, the last line of a program; each failure has a line of its own before it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.passed = 0
        self.wrong: list[str] = []
        self.untested: list[str] = []

    @contextlib.contextmanager
    def check(self, what: str) -> t.Iterator[None]:
        """One check: whatever it raises is a failure, and the next check follows."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001  # what was looked at may be in any state
            kind = "" if isinstance(exc, AssertionError) else f"{type(exc).__name__}: "
            self.wrong.append(f"{what}: {kind}{exc}")
            print(f"WRONG: {self.wrong[-1]}", flush=True)
        else:
            self.passed += 1

    def not_tested(self, what: str) -> None:
        """Says what cannot be looked at here."""
        self.untested.append(what)
        print(f"NOT TESTED: {what}", flush=True)

    def close(self, more: str = "") -> int:
        """Prints the closing line, and gives the exit code; nothing looked at is no success."""
        untested = f", {len(self.untested)} NOT TESTED" if self.untested else ""
        print(
            f"{self.name}: {self.passed} passed, {len(self.wrong)} failed{untested}{more and f' ({more})'}", flush=True
        )
        return 1 if self.wrong or not self.passed else 0
