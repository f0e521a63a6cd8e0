# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defines the documents of a JSON list on standard input with libvirt alone."""

from __future__ import annotations

import json
import sys

import libvirt

connection = libvirt.open("qemu:///system")
for document in json.load(sys.stdin):
    connection.defineXML(document)
