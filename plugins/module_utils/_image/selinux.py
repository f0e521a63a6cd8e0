# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the SELinux label that a guest's own policy gives to a new file. Pure.

The source of the format and of the order is selabel_file(5) and file_contexts(5): the last line that matches counts, and
lines without special characters count before all others. In the files of a policy, which are sorted from the general to
the special, this is also the order of the newer libselinux (3.8), which takes the longest folder first.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import selinux_match

CONFIG = "/etc/selinux/config"
#: The files below the folder of the policy, by the argument of ``parse``.
FILES = {
    "contexts": "file_contexts",
    "homedirs": "file_contexts.homedirs",
    "local": "file_contexts.local",
    "subs": "file_contexts.subs",
    "subs_dist": "file_contexts.subs_dist",
}
#: The extended attribute; its value is the label with a zero byte behind it.
XATTR = "security.selinux"
_NONE = "<<none>>"
_TYPES = {
    "file": "--",
    "directory": "-d",
    "symlink": "-l",
    "character": "-c",
    "block": "-b",
    "fifo": "-p",
    "socket": "-s",
}
_CONTEXT = re.compile(r"[!-9;-~]{1,255}:[!-9;-~]{1,255}:[!-9;-~]{1,255}(?::[!-~]{1,3000})?")
_POLICY = re.compile(r"\s*SELINUXTYPE\s*=\s*([A-Za-z0-9_-]{1,64})\s*")
_DISABLED = re.compile(r"\s*SELINUX\s*=\s*disabled\s*")
# A distribution's policy has about 6000 lines and half a million characters.
_MAX_LINES = 100000
_MAX_TEXT = 8 << 20
_MAX_PATH = 4096
#: A label of a real policy takes some thousands.
_MAX_STEPS = 1000000


def policy(config: str) -> str | None:
    """The name of the policy in the text of CONFIG; None when SELinux is disabled there or no policy is named."""
    lines = config.splitlines()
    if any(_DISABLED.fullmatch(line) for line in lines):
        return None
    names = [match.group(1) for match in (_POLICY.fullmatch(line) for line in lines) if match is not None]
    return names[-1] if names else None


def paths(name: str) -> dict[str, str]:
    """Where the files of the policy ``name`` are, by the argument of ``parse``."""
    return {key: f"/etc/selinux/{name}/contexts/files/{file}" for key, file in FILES.items()}


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A line; ``literal`` is the path of one without special characters, else None. ``prefix`` begins all that match."""

    expression: str
    type: str
    context: str
    literal: str | None
    prefix: str


class Labels:
    """The labels that a policy gives to paths."""

    def __init__(self, entries: t.Sequence[_Entry], subs: t.Sequence[t.Sequence[tuple[str, str]]]) -> None:
        # The first that matches is the one.
        self._entries = [*reversed([item for item in entries if item.literal is not None])]
        self._entries += reversed([item for item in entries if item.literal is None])
        self._subs = subs

    def label(self, path: str, kind: str | None = "file") -> str | None:
        """The label of ``path`` (absolute, of the guest); None when the policy gives it none.

        ``kind`` is file, directory, symlink, character, block, fifo or socket; None for any. Raises Unsupported when a
        line that may be the one is not understood, and Damaged when it has no label.
        """
        path = _plain(path)
        for subs in self._subs:
            path = _substituted(path, subs)
        wanted = _TYPES[kind] if kind is not None else None
        budget = selinux_match.Budget(_MAX_STEPS)
        for entry in self._entries:
            if not path.startswith(entry.prefix) or (entry.type and wanted and entry.type != wanted):
                continue
            if entry.literal is not None:
                found = entry.literal == path
            else:
                found = selinux_match.matches(entry.expression, path, budget)
            if found:
                return _checked(entry)
        return None


def parse(contexts: str, *, homedirs: str = "", local: str = "", subs: str = "", subs_dist: str = "") -> Labels:
    """The texts of the files (empty for one that is not there); raises Unsupported when they are absurdly long."""
    texts = (contexts, homedirs, local, subs, subs_dist)
    if sum(map(len, texts)) > _MAX_TEXT or sum(text.count("\n") for text in texts) > _MAX_LINES:
        raise Unsupported(
            f"a SELinux policy with more than {_MAX_LINES} lines or {_MAX_TEXT} characters of file contexts"
        )
    entries = [entry for text in (contexts, homedirs, local) for entry in _entries(text)]
    return Labels(entries, [_pairs(subs), _pairs(subs_dist)])


def label(path: str, kind: str | None, contexts: str, **more: str) -> str | None:
    """The label of one path; for several ``parse`` is to be done once. ``more`` are the other arguments of ``parse``."""
    return parse(contexts, **more).label(path, kind)


def _entries(text: str) -> t.Iterator[_Entry]:
    for line in text.split("\n"):
        words = line.split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        kind = words[1] if len(words) > 2 else ""
        literal = selinux_match.literal(words[0])
        prefix = literal if literal is not None else selinux_match.prefix(words[0])
        yield _Entry(words[0], kind, words[2] if kind else words[1], literal, prefix)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Folders that are labelled as if they were others; of several that fit the last one counts."""
    lines = (line.split() for line in reversed(text.split("\n")))
    return [(words[0], words[1]) for words in lines if len(words) > 1 and not words[0].startswith("#")]


def _plain(path: str) -> str:
    if not path.startswith("/") or len(path) > _MAX_PATH:
        raise Unsupported("a path that is not absolute, or too long, has no SELinux label")
    return re.sub(r"/+", "/", path).rstrip("/") or "/"


def _substituted(path: str, subs: t.Sequence[tuple[str, str]]) -> str:
    for source, target in subs:
        rest = path[len(source) :]
        if path.startswith(source) and rest[:1] in ("", "/"):
            return _plain(f"{target}{rest}")
    return path


def _checked(entry: _Entry) -> str | None:
    if entry.context == _NONE:
        return None
    if not _CONTEXT.fullmatch(entry.context):
        raise Damaged(f"the file contexts of its SELinux policy have {entry.context[:100]!r} where a label is to be")
    return entry.context
