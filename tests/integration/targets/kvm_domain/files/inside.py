# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""inside.py DOMAIN FILE...: what is in files of the guest, by its agent; `-` for one that is not there."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import typing as t


def ask(command: str, **arguments: t.Any) -> t.Any:
    """One command of the agent; None when it refuses it."""
    text = json.dumps({"execute": command, "arguments": arguments})
    done = subprocess.run(
        ["virsh", "qemu-agent-command", sys.argv[1], text], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)["return"] if done.returncode == 0 else None


for path in sys.argv[2:]:
    handle = ask("guest-file-open", path=path, mode="r")
    if handle is None:
        print("-")
        continue
    found = ask("guest-file-read", handle=handle)
    ask("guest-file-close", handle=handle)
    print(base64.b64decode(found["buf-b64"]).decode().strip())
