# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every file says under which licence it is."""

from __future__ import annotations

import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPDX = "SPDX-License-Identifier: GPL-3.0-or-later"
WHOLE = ("Copyright: (c) 2026, hypervisor.kvm contributors", "GNU General Public License v3.0+", SPDX)
#: Written by a tool, or the licence itself.
WITHOUT = {"LICENSE", "CHANGELOG.md", "changelogs/changelog.yaml"}
#: Folders that are not of the collection; the same as in .gitignore.
SKIPPED = {".git", ".venv", ".nox", "build", "__pycache__", ".ansible", ".hypothesis", "output"}
SKIPPED |= {".mypy_cache", ".pytest_cache", ".ruff_cache"}


def fault(name: str, text: str) -> str | None:
    """What is wrong with the head of a file, None when nothing is."""
    head = "\n".join(text.splitlines()[:6])
    wanted = WHOLE if name.endswith(".py") else (SPDX,)
    missing = [line for line in wanted if line not in head]
    return f"{name}: its first lines lack {missing[0]!r}" if missing else None


def files() -> list[pathlib.Path]:
    found = [path for path in ROOT.rglob("*") if path.is_file()]
    return [path for path in found if not SKIPPED.intersection(path.relative_to(ROOT).parts)]


def test_every_file_has_a_header() -> None:
    names = {path.relative_to(ROOT).as_posix(): path for path in files()}
    assert {"run", "noxfile.py", "README.md", "roles/kvm_host/README.md", "plugins/modules/kvm_net.py"} <= set(names)
    texts = {name: path.read_text(encoding="utf-8") for name, path in names.items() if name not in WITHOUT}
    assert [wrong for name, text in sorted(texts.items()) if (wrong := fault(name, text))] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.py", "import os\n"), ("a.py", f"# {SPDX}\n"), ("a.yml", "---\na: 1\n"), ("run", "#!/bin/sh\n" * 9 + SPDX)],
)
def test_a_missing_header_is_found(name: str, text: str) -> None:
    assert fault(name, text) is not None


def test_no_ignore_files() -> None:
    assert [path for path in files() if path.name.startswith((".ansible-lint-ignore", "ignore-"))] == []
