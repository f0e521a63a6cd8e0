# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: cloud-init in a guest, with an agent that answers from a table."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.cloud_init import (
    RESULT,
    CloudInit,
    parse_status,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.agent import Refused


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Agent:
    """Answers commands with what is in the table; an answer that is an error is raised."""

    def __init__(self, **answers: t.Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, command: str, **_arguments: t.Any) -> t.Any:
        self.asked.append(command)
        answer = self.answers.get(command.replace("-", "_"), refused("The command has been disabled for this instance"))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(words: str) -> Refused:
    return Refused("x", libvirt_message=f"internal error: unable to execute QEMU agent command 'x': {words}")


def says(text: str, code: int = 0, errors: str = "") -> Agent:
    ended = {"exited": True, "exitcode": code, "out-data": packed(text), "err-data": packed(errors)}
    return Agent(guest_exec={"pid": 5}, guest_exec_status=ended)


DONE = "status: done\nextended_status: done\nboot_status_code: enabled-by-generator\ndetail: DataSourceNoCloud\nerrors: []\n"
DEGRADED = (
    "status: done\nextended_status: degraded done\ndetail: DataSourceNoCloud\nerrors: []\nrecoverable_errors:\nWARNING:\n"
    "\t- Unhandled non-multipart userdata\n"
)
OLD_ERROR = "status: error\ntime: Mon, 01 Jan 2024\ndetail:\n('runcmd', ProcessExecutionError('x'))\n"
NEW_ERROR = (
    "status: error\nextended_status: error - done\ndetail: DataSourceNone\nerrors:\n\t- ('users', KeyError('x'))\n"
)


@pytest.mark.parametrize("text", [DONE, "status: done\n", "status: done\ntime: x\ndetail:\nDataSourceNoCloud\n"])
def test_done(text: str) -> None:
    talk = CloudInit()
    assert talk.look(says(text))
    assert talk.warning is None


@pytest.mark.parametrize(("text", "code"), [(DEGRADED, 2), (DEGRADED, 0), (DONE, 2)])
def test_done_with_complaints_is_a_warning(text: str, code: int) -> None:
    talk = CloudInit()
    assert talk.look(says(text, code))
    assert "but complains" in str(talk.warning)


@pytest.mark.parametrize("word", ["running", "not run", "not started"])
def test_not_yet(word: str) -> None:
    talk = CloudInit()
    agent = says(f"status: {word}\n")
    assert not talk.look(agent)
    assert not talk.look(agent)
    assert talk.note == f"cloud-init status says '{word}'"
    assert agent.asked == ["guest-exec", "guest-exec-status"] * 2


def test_a_program_that_takes_its_time_is_started_once() -> None:
    talk = CloudInit()
    ended = {"exited": True, "exitcode": 0, "out-data": packed(DONE)}
    agent = Agent(guest_exec={"pid": 5}, guest_exec_status=[{"exited": False}, {"exited": False}, ended])
    assert [talk.look(agent) for _time in range(3)] == [False, False, True]
    assert agent.asked.count("guest-exec") == 1


def test_a_guest_that_was_started_anew_meanwhile() -> None:
    talk = CloudInit()
    ended = {"exited": True, "exitcode": 0, "out-data": packed(DONE)}
    agent = Agent(guest_exec={"pid": 5}, guest_exec_status=[{"exited": False}, refused("PID 5 does not exist"), ended])
    assert [talk.look(agent) for _time in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (says(OLD_ERROR, 1), "failed in the guest: ('runcmd', ProcessExecutionError('x'))"),
        (says(NEW_ERROR, 1), "DataSourceNone - ('users', KeyError('x'))"),
        (
            says("status: disabled\ndetail: Cloud-init disabled by cloud-init-generator\n", 0),
            "is disabled in the guest",
        ),
        (says("", 2, "usage: \x1b[1mcloud-init"), "gave no status (exit code 2): usage: cloud-init"),
        (says("status: error\ndetail:\n" + "x" * 5000, 1), "..."),
        (Agent(), "may neither start cloud-init status"),
    ],
)
def test_what_never_comes_is_an_error(agent: Agent, words: str) -> None:
    with pytest.raises(KvmError) as caught:
        CloudInit().look(agent)
    assert words in caught.value.message
    assert len(caught.value.message) < 1000
    assert caught.value.message.isprintable()


def files(content: t.Any, **more: t.Any) -> Agent:
    read = {"count": 1, "buf-b64": packed(content), "eof": True}
    return Agent(guest_file_open=7, guest_file_read=read, guest_file_close={}, **more)


def test_where_programs_may_not_be_started_the_file_is_read() -> None:
    talk = CloudInit()
    missing = refused(f"failed to open file '{RESULT}' (mode: 'r'): No such file or directory")
    assert not talk.look(Agent(guest_file_open=missing))
    assert talk.note == f"{RESULT} is not there yet"
    agent = files(json.dumps({"v1": {"datasource": "x", "errors": []}}))
    assert talk.look(agent)
    # Closed again, and the program is not tried each time.
    assert agent.asked == ["guest-file-open", "guest-file-read", "guest-file-close"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps({"v1": {"errors": ["a failed", "b failed"]}}), "has failed in the guest: a failed; b failed"),
        ("{}", "is not what cloud-init writes"),
        ("[]", "is not what cloud-init writes"),
        ("no json", "is not what cloud-init writes"),
    ],
)
def test_what_the_file_says(content: str, words: str) -> None:
    with pytest.raises(KvmError, match=words):
        CloudInit().look(files(content))


def test_a_guest_without_cloud_init() -> None:
    no_program = refused("Failed to execute child process \u201ccloud-init\u201d (No such file or directory)")
    no_file = refused(f"failed to open file '{RESULT}' (mode: 'r'): No such file or directory")
    with pytest.raises(KvmError, match="there is no cloud-init in the guest"):
        CloudInit().look(Agent(guest_exec=no_program, guest_file_open=no_file))


def test_lines_of_a_status() -> None:
    assert parse_status("noise\nstatus: done\ndetail:\na: b\n  c\n") == {"status": "done", "detail": "", "a": "b\n  c"}
