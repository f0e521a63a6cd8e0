# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what the entries of a list have in common is worked out once. Pure."""

from __future__ import annotations

import typing as t

ThingT = t.TypeVar("ThingT")


class Once(t.Generic[ThingT]):
    """Things that are made once, of equal plain data. Who gets one must not change it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: dict[str, ThingT] = {}

    def get(self, data: t.Any, make: t.Callable[[], ThingT]) -> ThingT:
        """What was made of such data, else what ``make`` makes of it now; ``data`` has to be all that it depends on."""
        # Unlike equality it tells 1 from True, and 1 from "1".
        key = repr(data)
        found = self._made.get(key)
        if found is None:
            found = make()
            if len(self._made) >= self._most:
                # A list of which nothing is alike.
                self._made.clear()
            self._made[key] = found
        return found
