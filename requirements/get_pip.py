# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for the bootstrap program that ansible-test fetches from its own site: the same from what is here."""

from __future__ import annotations

import os
import subprocess
import sys

# In a process of its own: ensurepip clears pip's settings in the one that it runs in.
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "-qq", *words], env=dict(os.environ)))
