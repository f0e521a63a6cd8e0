# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The oracle: its folder, and a process that falls over. What libvirt says is asked in the integration tests."""

from __future__ import annotations

import json
import os
import pathlib
import sys

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _command
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import oracle, oracle_folder, oracle_program


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(oracle_folder, "CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_is_private_and_gone_afterwards_and_what_was_found_out_stays(cache: pathlib.Path) -> None:
    folder = oracle_folder.make()
    root = pathlib.Path(folder.root)
    assert root.stat().st_mode & 0o077 == 0
    assert cache.stat().st_mode & 0o077 == 0
    (root / "cache" / "found").write_text("x", encoding="utf-8")
    folder.remove()
    assert not root.exists()
    again = oracle_folder.make()
    assert (pathlib.Path(again.root) / "cache" / "found").read_text(encoding="utf-8") == "x"
    again.remove()


def test_what_a_killed_task_left_is_removed_and_what_another_uses_is_not(cache: pathlib.Path) -> None:
    used = oracle_folder.make()
    left = cache / "o" / "left"
    left.mkdir()
    folder = oracle_folder.make()
    assert not left.exists()
    assert os.path.isdir(used.root)
    used.remove()
    folder.remove()


#: Falls over each document that says so, and once (with a file as its mark) over one that says "sometimes".
PROGRAM = """
import json, os, sys
print(json.dumps({}), flush=True)
for line in sys.stdin:
    text = json.loads(line)["document"]
    if text == "crash":
        os._exit(6)
    if text == "sometimes" and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        os._exit(6)
    print(json.dumps({"document": text.upper()} if text != "bad" else {"error": "no", "code": 1}), flush=True)
"""


def asked(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, program: str) -> oracle.Oracle:
    command = [sys.executable, "-c", program, str(cache.parent / "mark")]
    monkeypatch.setattr(oracle, "_unusable", lambda _connection: None)
    converse = _command.converse
    monkeypatch.setattr(_command, "converse", lambda _argv: converse(command))
    return oracle.Oracle(None)


def test_it_goes_on_where_the_driver_fell_over(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seer = asked(cache, monkeypatch, PROGRAM)
    answers = seer.ask(["a", "sometimes", "bad", "crash", "b"])
    assert answers is not None
    assert [answer.document for answer in answers] == ["A", "SOMETIMES", None, None, "B"]
    assert [answer.error for answer in answers] == [None, None, "no", None, None]
    assert seer.ask([]) == []
    assert seer.why_not is None
    seer.close()
    assert os.listdir(cache / "o") == []


@pytest.mark.parametrize(
    "program", ["import sys; sys.exit('no module')", f"print({json.dumps(json.dumps({'error': 'no driver'}))})"]
)
def test_without_a_driver_nobody_is_asked(program: str, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seer = asked(cache, monkeypatch, program)
    assert seer.ask(["a"]) is None
    assert "no " in (seer.why_not or "")
    assert seer.ask(["a"]) is None
    assert seer.objections(["a"]) == [None]
    seer.close()
    assert os.listdir(cache / "o") == []


#: Has something against each document, after a long time against some; marks each question.
SCHEMA = """
import json, sys, time
print(json.dumps({}), flush=True)
for line in sys.stdin:
    with open(sys.argv[1], "a") as mark:
        mark.write("x")
    question = json.loads(line)
    if question["document"] == "long":
        time.sleep(600)
    print(json.dumps({"error": "unknown"} if question.get("validate") else {"document": "D"}), flush=True)
"""


def test_what_the_schema_says_is_not_waited_for(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seer = asked(cache, monkeypatch, SCHEMA)
    monkeypatch.setattr(oracle, "_OBJECTION", 1.0)
    assert seer.objections(["a", "long", "a"]) == ["unknown", None, "unknown"]
    answers = seer.ask(["a"])
    assert answers is not None
    assert answers[0].document == "D"
    assert seer.objections(["long", "long", "long", "a"]) == [None, None, None, None]
    assert seer.why_not is None
    # Each was asked once, and after three in vain nothing more was.
    assert len((cache.parent / "mark").read_text(encoding="utf-8")) == 6
    seer.close()


def test_what_names_the_daemons_folders_is_asked_with_those_of_the_driver() -> None:
    root, text = (
        "/var/cache/hypervisor.kvm/o/abc",
        (
            "<source path='/var/lib/libvirt/qemu/channel/target/web.agent'/><loader>/run/libvirt/qemu/x</loader>"
            "<nvram>/var/run/libvirt/qemu/y</nvram><source file='/srv/var/lib/libvirt/images/a'/>"
        ),
    )
    asked_with = oracle_program.inside(root, text)
    assert f"<source path='{root}/lib/qemu/channel/target/web.agent'/><loader>{root}/run/qemu/x</loader>" in asked_with
    assert "/libvirt/qemu" not in asked_with
    assert "/srv/var/lib/libvirt/images/a" in asked_with
    assert oracle_program.outside(root, asked_with) == text
