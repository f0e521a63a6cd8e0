# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""cloud-init in a guest: whether it is done, asked through the guest agent step by step. Each step is short."""

from __future__ import annotations

import base64
import binascii
import json
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.guests.text import clean
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.agent import Refused

#: Where cloud-init writes down its end. In /run: what is there is of this boot.
RESULT = "/run/cloud-init/result.json"
#: What is read of a file in a guest, and said of what the guest says.
_MOST = 65536
_SHOWN = 600
_KEY = re.compile(r"([a-z_]+):\s*(.*)")

#: Puts a command of the agent: its name and its arguments. Raises Refused when the agent answers with an error.
Ask = t.Callable[..., t.Any]


class CloudInit:
    """One conversation. ``look`` is called until it returns True; ``note`` says how far it is, ``warning`` what cloud-init
    complains of although it is done. By its own program where the agent may start programs, else by its files."""

    def __init__(self) -> None:
        self.note = "it was not asked yet"
        self.warning: str | None = None
        self._pid: int | None = None
        self._no_program: str | None = None

    def look(self, ask: Ask) -> bool:
        """Whether cloud-init is done; raises KvmError when it will never be, or has failed."""
        if self._no_program is not None:
            return self._read(ask)
        try:
            return self._run(ask)
        except Refused as exc:
            if self._pid is not None:
                # The guest was started anew meanwhile, and its agent knows nothing of the program.
                self._pid = None
                return False
            self._no_program = _reason(exc)
            return self._read(ask)

    def _run(self, ask: Ask) -> bool:
        if self._pid is None:
            words = {"path": "cloud-init", "arg": ["status", "--long"], "capture-output": True}
            self._pid = int(ask("guest-exec", **words)["pid"])
        status = ask("guest-exec-status", pid=self._pid)
        if not status.get("exited"):
            self.note = "cloud-init status has not answered yet"
            return False
        self._pid = None
        return self._judge(_decoded(status.get("out-data")), _decoded(status.get("err-data")), status.get("exitcode"))

    def _judge(self, said: str, complained: str, code: int | None) -> bool:
        values = parse_status(said)
        status = values.get("status", "").partition("\n")[0].strip()
        detail = _short(values.get("detail", ""), values.get("errors", ""), values.get("recoverable_errors", ""))
        if not status:
            raise KvmError(f"cloud-init status gave no status (exit code {code}): {_short(complained or said)}")
        if status == "error":
            raise KvmError(f"cloud-init has failed in the guest: {detail}")
        if status == "disabled":
            raise KvmError(f"cloud-init is disabled in the guest, so it will do nothing: {detail}")
        if status in ("done", "degraded"):
            if code or "degraded" in (status, *values.get("extended_status", "").split()):
                self.warning = f"cloud-init is done, but complains: {detail}"
            return True
        self.note = f"cloud-init status says '{_short(status)}'"
        return False

    def _read(self, ask: Ask) -> bool:
        """The way where the agent may not start programs, as on many distributions of the Red Hat family."""
        try:
            handle = ask("guest-file-open", path=RESULT, mode="r")
        except Refused as exc:
            reason = _reason(exc)
            if "disabled" in reason or "not been found" in reason or "not found" in reason or "not allowed" in reason:
                raise KvmError(
                    f"the guest agent may neither start cloud-init status ({self._no_program}) nor read {RESULT} ({reason});"
                    " allow it guest-exec or guest-file-open in the guest, or wait for something else."
                ) from exc
            if "No such file" in str(self._no_program):
                raise KvmError(
                    f"there is no cloud-init in the guest: {self._no_program}; {RESULT} is not there either."
                ) from exc
            self.note = f"{RESULT} is not there yet"
            return False
        try:
            content = ask("guest-file-read", handle=handle, count=_MOST)
        finally:
            ask("guest-file-close", handle=handle)
        errors = _errors(_decoded(content.get("buf-b64")))
        if errors:
            raise KvmError(f"cloud-init has failed in the guest: {_short('; '.join(errors))}")
        return True


def parse_status(text: str) -> dict[str, str]:
    """What ``cloud-init status --long`` says, of any version: each key with its lines."""
    values: dict[str, str] = {}
    key = None
    for line in text.splitlines():
        found = _KEY.match(line)
        if found:
            key = found.group(1)
            values[key] = found.group(2)
        elif key is not None:
            values[key] += "\n" + line
    return values


def _errors(text: str) -> list[str]:
    try:
        stage = json.loads(text)["v1"]
        return [str(error) for error in stage.get("errors") or ()]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise KvmError(f"{RESULT} in the guest is not what cloud-init writes.") from exc


def _decoded(data: t.Any) -> str:
    try:
        return base64.b64decode(str(data or "")).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def _reason(error: KvmError) -> str:
    """The agent's own words at the end of libvirt's sentence."""
    return str(error.details.get("libvirt_message") or error.message).rpartition("': ")[2].strip().rstrip(".")


def _short(*texts: str) -> str:
    """What a guest says, as one harmless line."""
    words = " ".join(text for text in texts if text.strip() not in ("", "[]", "{}", "null")).split()
    line = clean(" ".join(words))
    return (line[:_SHOWN] + "..." if len(line) > _SHOWN else line) or "it says nothing more"
