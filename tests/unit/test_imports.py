# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The import rules of the house (docs/architecture.md), held by walking the imports of every file in plugins/."""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import functools
import importlib.util
import pathlib
import sysconfig

import pytest

PLUGINS = pathlib.Path(__file__).resolve().parents[2] / "plugins"
UTILS = "ansible_collections.hypervisor.kvm.plugins.module_utils"
#: A fragment may be put together from others.
FRAGMENTS = "ansible_collections.hypervisor.kvm.plugins.doc_fragments"

#: Who alone may import a library; patterns of paths below plugins/.
LIBRARY_USERS = {
    "libvirt": ["module_utils/_libvirt/*.py"],
    "libvirt_qemu": ["module_utils/_libvirt/*.py"],
    "lxml": ["module_utils/_xml.py", "module_utils/_*/xml.py", "module_utils/_*/xml/*.py"],
    "xml": ["module_utils/_xml.py"],
    "subprocess": ["module_utils/_command.py"],
    "multiprocessing": [],
    "pty": [],
    "ansible": ["module_utils/_module.py", "inventory/*.py"],
}
#: Calls that start a program without subprocess.
STARTERS = ("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "run_command")
STARTER_PREFIXES = ("exec", "spawn")

#: What each core util may import of ours.
CORE = {
    "_errors": set(),
    "_changes": set(),
    "_progress": set(),
    "_png": {"_errors"},
    "_seals": set(),
    "_units": {"_errors"},
    "_landlock": set(),
    "_libguestfs": set(),
    "_loop": {"_errors"},
    "_command": {"_errors", "_landlock"},
    "_xml": {"_errors"},
    "_floor": {"_changes", "_errors"},
    "_module": {"_changes", "_errors", "_floor", "_progress"},
}
#: What the rooms of a floor may reach in their floor, directly or through helpers.
ROOMS: dict[str, set[str]] = {
    "spec": set(),
    "xml": {"spec"},
    "observe": {"spec", "xml"},
    "compare": {"spec", "xml", "observe"},
    "apply": {"spec", "xml", "observe", "compare"},
}
PURE = ("spec", "xml", "compare")
IMPURE_UTILS = ("_command", "_libguestfs", "_libvirt", "_loop", "_module", "_progress", "_seals")
IMPURE_LIBRARIES = ("ctypes", "fcntl", "glob", "http", "shutil", "socket", "tempfile", "urllib")
FLOOR_NEEDS = {("_domain", "_image"), ("_domain", "_storage"), ("_image_mount", "_image"), ("_snapshot", "_image")}


@functools.cache
def _parse(source: str, path: str) -> ast.Module:
    return ast.parse(source, path)


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name: ``module`` in full, ``name`` what is taken from it (None: the module itself)."""

    module: str
    name: str | None
    line: int


@dataclasses.dataclass(frozen=True)
class File:
    """A source file; ``path`` is relative to plugins/."""

    path: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return _parse(self.source, self.path)

    @property
    def util(self) -> tuple[str, ...]:
        """``module_utils/_net/xml.py`` is ``("_net", "xml")``; empty for other files."""
        parts = pathlib.PurePosixPath(self.path).with_suffix("").parts
        return parts[1:] if parts[0] == "module_utils" else ()

    def imports(self) -> list[Import]:
        found: list[Import] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [Import(alias.name, None, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                found += [Import(module, alias.name, node.lineno) for alias in node.names]
        return found

    def ours(self, known: set[tuple[str, ...]]) -> list[tuple[tuple[str, ...], Import]]:
        """The utils that the file imports, as ``("_net", "xml")``, whichever way the import is written."""
        found = []
        for item in self.imports():
            if (item.module + ".").startswith(UTILS + "."):
                util = tuple(item.module[len(UTILS) :].strip(".").split(".")) if item.module != UTILS else ()
                whole = (*util, item.name) if item.name else util
                found.append((whole if whole in known or not util else util, item))
        return found


@functools.lru_cache(maxsize=1)
def read_plugins() -> list[File]:
    paths = sorted(path for path in PLUGINS.rglob("*.py") if "__pycache__" not in path.parts)
    return [File(path.relative_to(PLUGINS).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


@functools.cache
def _standard(root: str) -> bool:
    spec = importlib.util.find_spec(root) if root != "__future__" else None
    if spec is None:
        return root == "__future__"
    origin = spec.origin or ""
    return origin in ("built-in", "frozen") or (
        origin.startswith(sysconfig.get_paths()["stdlib"]) and "-packages" not in origin
    )


def library_violations(file: File) -> list[str]:
    wrong = []
    for item in file.imports():
        root = item.module.split(".")[0]
        where = f"{file.path}:{item.line}"
        if item.module.startswith("."):
            wrong.append(f"{where}: a relative import; write {UTILS}...")
        elif root in LIBRARY_USERS:
            if not any(fnmatch.fnmatch(file.path, pattern) for pattern in LIBRARY_USERS[root]):
                wrong.append(f"{where}: {root} is not for this file to import")
        elif root == "ansible_collections":
            allowed = (FRAGMENTS, UTILS) if file.path.startswith("doc_fragments/") else (UTILS,)
            if not (item.module + ".").startswith(tuple(f"{folder}." for folder in allowed)):
                wrong.append(f"{where}: {item.module} is no util of this collection")
        elif not _standard(root):
            wrong.append(f"{where}: {root} is not in the standard library")
    return wrong


def start_violations(file: File) -> list[str]:
    if file.path == "module_utils/_command.py":
        return []
    wrong = []
    for node in ast.walk(file.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, owner = node.func.attr, node.func.value
        of_os = isinstance(owner, ast.Name) and owner.id == "os"
        starts = name in STARTERS or name.startswith(STARTER_PREFIXES)
        if (of_os and starts) or name == "run_command":
            wrong.append(f"{file.path}:{node.lineno}: {name}() starts a program; only _command.py does")
    return wrong


def purity_violations(file: File) -> list[str]:
    """Pure rooms have no I/O: nothing that reads, writes, connects or starts."""
    util = file.util
    if len(util) < 2 or util[0] == "_libvirt" or util[1] not in PURE:
        return []
    wrong = []
    for target, item in file.ours(set()):
        name = target[0] if target else item.name
        if name in IMPURE_UTILS:
            wrong.append(f"{file.path}:{item.line}: {name} in a pure room")
    impure = (item for item in file.imports() if item.module.split(".")[0] in IMPURE_LIBRARIES)
    wrong += [f"{file.path}:{item.line}: {item.module} in a pure room" for item in impure]
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "os" and node.attr not in ("path", "fspath", "PathLike"):
                wrong.append(f"{file.path}:{node.lineno}: os.{node.attr} in a pure room")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            wrong.append(f"{file.path}:{node.lineno}: open() in a pure room")
    return wrong


def layer_violations(file: File, known: set[tuple[str, ...]]) -> list[str]:
    """Core utils import core utils of their table, _libvirt core only, floors core, _libvirt and themselves."""
    if not file.util:
        return []  # modules may use all
    wrong = []
    for target, item in file.ours(known):
        names = target or (item.name or "",)
        reason = _layer_violation(file.util, names, item.name or "")
        if reason is not None:
            wrong.append(f"{file.path}:{item.line}: {reason}")
    return wrong


def _layer_violation(util: tuple[str, ...], names: tuple[str, ...], taken: str) -> str | None:
    own, other = util[0], names[0]
    if own in CORE:
        return None if other in CORE[own] else f"{own} must not know {other}"
    if other == "_module":
        return "only modules use _module"
    if own == "_libvirt":
        return (
            None if other == "_libvirt" or (other in CORE and other != "_floor") else f"_libvirt must not know {other}"
        )
    if other not in (own, "_libvirt", *CORE) and (own, other) not in FLOOR_NEEDS:
        return f"floor {own} must not know floor {other}"
    if util[1] == "compare" and names[:2] == (own, "observe") and not taken[:1].isupper():
        # The state's class is data; the functions read the machine.
        return "compare takes from observe nothing but its classes"
    return None


def room_violations(files: list[File]) -> list[str]:
    """Rooms reach downwards only, also through helper files; no two files need each other."""
    known = {file.util for file in files if file.util}
    graph = {
        file.util: {target for target, _item in file.ours(known) if target[:1] == file.util[:1] and target in known}
        for file in files
        if len(file.util) > 1 and file.util[0] not in CORE
    }
    wrong = []
    for util, direct in graph.items():
        reached: set[tuple[str, ...]] = set()
        todo = list(direct)
        while todo:
            step = todo.pop()
            if step not in reached:
                reached.add(step)
                todo += graph.get(step, ())
        if util in reached:
            wrong.append(f"{'/'.join(util)}: imports itself in a circle")
        if util[0] != "_libvirt" and util[1] in ROOMS:
            allowed = {*ROOMS[util[1]], util[1]}
            rooms = {step[1] for step in reached if step[1] in ROOMS}
            wrong += [f"{'/'.join(util)}: reaches up to {room}" for room in sorted(rooms - allowed)]
    return wrong


def violations(files: list[File]) -> list[str]:
    known = {file.util for file in files if file.util}
    wrong = room_violations(files)
    for file in files:
        wrong += library_violations(file) + start_violations(file) + purity_violations(file)
        wrong += layer_violations(file, known)
    return wrong


def test_the_house_keeps_its_rules() -> None:
    assert violations(read_plugins()) == []


def test_every_file_was_walked() -> None:
    paths = {file.path for file in read_plugins()}
    expected = {f"module_utils/{name}.py" for name in CORE} | {f"module_utils/_net/{room}.py" for room in ROOMS}
    assert expected | {"module_utils/_libvirt/connection.py", "modules/kvm_net.py"} <= paths
    imported = [item for file in read_plugins() for item in file.imports() if item.module.startswith(UTILS)]
    assert len(imported) > 40


def test_no_package_files() -> None:
    assert list(PLUGINS.rglob("__init__.py")) == []


WRONG = [
    ("module_utils/_net/apply.py", "import libvirt", "libvirt is not for this file"),
    ("modules/kvm_net.py", "from libvirt import open", "libvirt is not for this file"),
    ("modules/kvm_net.py", "def f():\n    import libvirt", "libvirt is not for this file"),
    ("module_utils/_net/observe.py", "from lxml import etree", "lxml is not for this file"),
    ("module_utils/_net/spec.py", "import xml.etree.ElementTree as e", "xml is not for this file"),
    ("module_utils/_image/apply.py", "import subprocess", "subprocess is not for this file"),
    ("module_utils/_image/apply.py", "import os\nos.system('x')", "starts a program"),
    ("module_utils/_image/apply.py", "import os\nos.execvp('x', [])", "starts a program"),
    ("modules/kvm_net.py", "module.run_command(['x'])", "starts a program"),
    ("modules/kvm_net.py", "from ansible.module_utils.basic import AnsibleModule", "ansible is not for this file"),
    ("module_utils/_net/apply.py", "from ansible.module_utils import basic", "ansible is not for this file"),
    ("module_utils/_net/apply.py", "import yaml", "not in the standard library"),
    ("module_utils/_net/apply.py", "from . import spec", "relative import"),
    ("module_utils/_net/apply.py", "from ansible_collections.a.b.plugins.module_utils import c", "no util of this"),
    ("module_utils/_net/apply.py", f"from {UTILS}._nat import spec", "floor _net must not know floor _nat"),
    ("module_utils/_image/spec.py", f"from {UTILS}._domain.spec import X", "floor _image must not know floor _domain"),
    ("module_utils/_net/apply.py", f"from {UTILS} import _module", "only modules use _module"),
    ("module_utils/_libvirt/networks.py", f"from {UTILS}._net import spec", "_libvirt must not know _net"),
    ("module_utils/_errors.py", f"from {UTILS}._units import parse_size", "_errors must not know _units"),
    ("module_utils/_floor.py", f"from {UTILS} import _command", "_floor must not know _command"),
    ("module_utils/_net/spec.py", f"from {UTILS}._net.xml import read", "_net/spec: reaches up to xml"),
    ("module_utils/_net/xml.py", f"from {UTILS}._net import compare", "_net/xml: reaches up to compare"),
    ("module_utils/_net/observe.py", f"from {UTILS}._net.apply import apply", "_net/observe: reaches up to apply"),
    ("module_utils/_net/compare.py", f"import {UTILS}._net.apply", "_net/compare: reaches up to apply"),
    ("module_utils/_net/compare.py", f"from {UTILS}._net.observe import observe", "nothing but its classes"),
    ("module_utils/_net/compare.py", f"from {UTILS}._net import observe", "nothing but its classes"),
    ("module_utils/_net/spec.py", f"from {UTILS}._command import run", "_command in a pure room"),
    ("module_utils/_net/compare.py", f"from {UTILS} import _command", "_command in a pure room"),
    ("module_utils/_net/compare.py", f"from {UTILS}._libvirt import networks", "_libvirt in a pure room"),
    ("module_utils/_net/spec.py", "import socket", "socket in a pure room"),
    ("module_utils/_net/spec.py", "import os\nos.stat('x')", "os.stat in a pure room"),
    ("module_utils/_net/xml.py", "open('x')", "open() in a pure room"),
]


@pytest.mark.parametrize(("path", "source", "message"), WRONG)
def test_a_wrong_import_is_caught(path: str, source: str, message: str) -> None:
    """The file is put into the real tree, in the place of the one there."""
    files = [file for file in read_plugins() if file.path != path]
    found = violations([*files, File(path, source)])
    assert any(message in line and line.startswith((path, path[13:-3])) for line in found), found


def test_a_way_up_through_a_helper_is_caught() -> None:
    helper = File("module_utils/_net/helper.py", f"from {UTILS}._net.compare import compare")
    room = File("module_utils/_net/xml.py", f"from {UTILS}._net.helper import x")
    assert "_net/xml: reaches up to compare" in room_violations([*read_plugins(), helper, room])


def test_a_circle_is_caught() -> None:
    first = File("module_utils/_net/first.py", f"from {UTILS}._net.second import x")
    second = File("module_utils/_net/second.py", f"from {UTILS}._net import first")
    assert "_net/first: imports itself in a circle" in room_violations([*read_plugins(), first, second])


RIGHT = [
    ("module_utils/_libvirt/domains.py", "import libvirt"),
    ("module_utils/_domain/xml.py", "from lxml import etree"),
    ("module_utils/_domain/apply.py", f"from {UTILS}._image.apply import apply"),
    ("module_utils/_net/compare.py", f"from {UTILS}._net.observe import NetworkState"),
    ("module_utils/_nat/iptables.py", f"from {UTILS} import _command"),
    ("modules/kvm_net.py", f"from {UTILS}._net.apply import apply"),
]


@pytest.mark.parametrize(("path", "source"), RIGHT)
def test_a_right_import_is_none(path: str, source: str) -> None:
    file = File(path, source)
    assert library_violations(file) + start_violations(file) + purity_violations(file) == []
    assert layer_violations(file, {file.util for file in read_plugins()}) == []
