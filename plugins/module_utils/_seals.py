# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Seals: the files in which a run leaves what the next one need not look at again. They may be lost at any time."""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

#: The collection's version: another one may see differences where this one sees none.
VERSION = "0.1.0"
_LARGEST = 64 << 20


def read(path: str) -> t.Any:
    """What is in a file; None when it is not there, cannot be read, or is somebody else's."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.loads(file.read(_LARGEST)) if os.fstat(file.fileno()).st_uid == os.geteuid() else None
    except (OSError, ValueError):
        return None


def write(path: str, content: t.Any) -> None:
    """Puts a whole file in its place, for its owner's eyes only; raises OSError."""
    text = json.dumps(content)
    descriptor, part = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except OSError:
        os.unlink(part)
        raise
