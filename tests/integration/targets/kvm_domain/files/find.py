# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""find.py: cases with their XPaths come on stdin as JSON; says what virsh finds of them and what it does not.

What begins like one of `stays` libvirt keeps in any case; it is not among what is found."""

from __future__ import annotations

import json
import subprocess
import sys

from lxml import etree

found: list[str] = []
missing: list[str] = []
for case in json.load(sys.stdin):
    command = ["virsh", "dumpxml", "--inactive", "--security-info", f"it-option-{case['name']}"]
    root = etree.fromstring(subprocess.run(command, check=True, capture_output=True).stdout)
    for path in case["xpath"]:
        if not root.xpath(path):
            missing.append(f"{case['name']}: {path}")
        elif not path.startswith(tuple(case.get("stays", ["-"]))):
            found.append(f"{case['name']}: {path}")
json.dump({"found": found, "missing": missing}, sys.stdout)
