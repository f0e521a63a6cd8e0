# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NAT: the units that put the rules back, and the programs that they run."""

from __future__ import annotations

import configparser
import os
import pathlib
import subprocess

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import compare, persist, record, report, spec
from ansible_collections.hypervisor.kvm.tests.unit._nat import hosts

FILES = persist.files("/usr/bin/python3")


def unit(path: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(FILES[path])
    return parsed


def test_all_files_are_known() -> None:
    assert set(FILES) == {*persist.UNITS, *persist.PROGRAMS}


@pytest.mark.parametrize("path", persist.UNITS)
def test_units_run_programs_that_are_there(path: str) -> None:
    one = unit(path)
    for key in ("ExecStart", "ExecReload"):
        command = one["Service"].get(key, "/bin/sh " + persist.REPLAY)
        assert command.split()[0] == "/bin/sh"
        assert command.split()[1] in FILES
    assert one["Unit"]["ConditionPathExistsGlob"] == f"{record.FOLDER}/*.rules"


def test_each_service_has_a_unit_of_its_own() -> None:
    """Those of services that conflict: the start of one stops the other, and ours must not be in both jobs."""
    [plain, beside, watcher] = (unit(path) for path in persist.UNITS)
    assert "PartOf" not in plain["Unit"]
    assert plain["Install"]["WantedBy"] == "multi-user.target"
    assert set(persist.BESIDE) <= set(plain["Unit"]["After"].split())
    for key in ("After", "PartOf", "ReloadPropagatedFrom"):
        assert beside["Unit"][key] == "%i.service"
    assert beside["Install"]["WantedBy"] == "%i.service"
    assert "PartOf" not in watcher["Unit"]
    assert watcher["Install"]["WantedBy"] == "firewalld.service"
    assert persist.UNIT_NAME in beside["Service"]["ExecStop"]
    for theirs, ours in persist.BESIDE.items():
        assert ours in (f"kvm-nat@{theirs}", "kvm-nat-firewalld.service")
    assert len(set(persist.ENABLED)) == len(persist.BESIDE) + 1


@pytest.mark.parametrize("path", [path for path in persist.PROGRAMS if not path.endswith(".py")])
def test_programs_are_sound(path: str) -> None:
    subprocess.run(["sh", "-n"], input=FILES[path], text=True, check=True, timeout=20)
    for word in ("FOLDER", "PYTHON", "REPLAY", "SYSCTL", "FORWARDING"):
        assert word not in FILES[path]


def test_the_watcher_replays_at_its_start_and_at_each_signal(tmp_path: pathlib.Path) -> None:
    """With a bus that says four things, two of which are that firewalld has loaded its rules, one that it has come or gone."""
    said = "Type=signal\\n  Member=Reloaded\\nType=signal\\n  Member=ZoneChanged\\n  Sender=:1.2  Member=Reloaded\\nMember=NameOwnerChanged\\n"
    bus = tmp_path / "busctl"
    bus.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    bus.chmod(0o755)
    replay, log = tmp_path / "replay", tmp_path / "log"
    replay.write_text(f"echo again >> {log}\n")
    script = FILES[f"{record.FOLDER}/watch"].replace(persist.REPLAY, str(replay))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh"], input=script, text=True, check=True, timeout=20, env=environment)
    assert log.read_text() == "again\n" * 4


def test_without_systemd_auto_warns_and_systemd_fails() -> None:
    one = {"bridge": "br0", "subnets": ["192.168.0.0/24"]}
    auto, stated = spec.parse(one), spec.parse({**one, "persist": "systemd"})
    [said] = report.warnings(auto, hosts.seen(systemd=False), first=True)
    assert "no systemd on this host" in said
    assert compare.compare(auto, hosts.seen(systemd=False)).plan.unit is None
    with pytest.raises(KvmError, match="needs a running systemd"):
        compare.compare(stated, hosts.seen(systemd=False))
    for wanted in (auto, stated):
        assert report.warnings(wanted, hosts.seen(systemd=True), first=True) == []
        changes = compare.compare(wanted, hosts.seen(systemd=True))
        assert changes.plan.unit == "start"
        assert set(FILES) <= set(changes.plan.files)
        # The last bridge takes them all along.
        after = compare.compare(spec.parse({"bridge": "br0", "state": "absent"}), changes.plan.result)
        assert after.plan.unit == "stop"
        assert {path: text for path, text in after.plan.files.items() if path in FILES} == dict.fromkeys(FILES)
