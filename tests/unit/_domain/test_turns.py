# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: tasks on one domain take turns. With processes, for a process has only one turn of its own."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import turns
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy

HOLDER = """
import sys, time
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.turns import Turns
turns = Turns(sys.argv[1])
for name in sys.argv[2:]:
    turns.take(name, print)
print("taken", flush=True)
sys.stdin.read()
"""


def holder(folder: pathlib.Path, *names: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def test_another_task_waits_until_the_first_has_ended(tmp_path: pathlib.Path) -> None:
    first = holder(tmp_path, "web")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        first.send_signal(signal.SIGKILL)

    mine = turns.Turns(str(tmp_path))
    mine.take("db", said.append)
    assert said == []
    mine.take("web", say)
    assert said == ["domain web: waiting for another task that is at it"]
    mine.give_back()
    first.communicate()


def test_who_gives_back_lets_the_next_one(tmp_path: pathlib.Path) -> None:
    mine = turns.Turns(str(tmp_path))
    mine.take("web", print)
    mine.give_back()
    next_one = holder(tmp_path, "web")
    next_one.communicate()
    assert next_one.returncode == 0


def test_waiting_has_an_end(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = holder(tmp_path, "web")
    monkeypatch.setattr(turns, "_PATIENCE", 0)
    with pytest.raises(Busy, match="domain web: another task has been at it"):
        turns.Turns(str(tmp_path)).take("web", print)
    first.communicate()


def test_a_place_without_a_lock_file_stops_nobody(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    started = time.monotonic()
    mine = turns.Turns(str(tmp_path / "file"))
    mine.take("web", print)
    mine.give_back()
    assert time.monotonic() - started < 60


def test_a_link_in_the_place_of_the_lock_file_is_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "domains.lock").symlink_to(tmp_path / "victim")
    turns.Turns(str(tmp_path)).take("web", print)
    assert not (tmp_path / "victim").exists()


def test_places_are_apart() -> None:
    places = {turns.place(f"guest-{number}") for number in range(5000)}
    assert len(places) == 5000
    assert all(0 <= place < 1 << 56 for place in places)
