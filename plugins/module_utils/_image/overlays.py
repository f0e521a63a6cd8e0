# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: which overlays stand on a base image. One small list beside the base, true only as far as the disks confirm it."""

from __future__ import annotations

import json
import os
import typing as t

SUFFIX = ".kvm_image.overlays"

#: Path of an image -> its backing files, nearest first.
Backing = t.Callable[[str], t.Sequence[str]]


def recorded(base: str) -> list[str]:
    """The paths that are on the list of ``base``."""
    try:
        with open(base + SUFFIX, encoding="utf-8") as file:
            entries = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # A broken list is no reason to stop: it is written anew with the next overlay.
        return []
    return [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def living(base: str, backing: Backing) -> list[str]:
    """The recorded disks that are there and really stand on ``base``."""
    return [path for path in recorded(base) if os.path.lexists(path) and base in backing(path)]


def text(entries: t.Sequence[str]) -> str:
    """The list as the text of its file."""
    return json.dumps(sorted(set(entries)), indent=2) + "\n"
