# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: libvirt's flat statistics as a person reads them: in bytes and seconds, by device. Pure."""

from __future__ import annotations

import typing as t

_KIB = 1024
_NANO = 1_000_000_000

Flat = t.Mapping[str, t.Any]

#: Our words for the ends of libvirt's names.
_BLOCK = {
    "rd.reqs": "read_requests", "rd.bytes": "read_bytes", "wr.reqs": "write_requests", "wr.bytes": "write_bytes",
    "fl.reqs": "flush_requests", "errors": "errors",
}  # fmt: skip
_NET = {
    "rx.bytes": "received_bytes", "rx.pkts": "received_packets", "rx.errs": "received_errors", "rx.drop": "received_dropped",
    "tx.bytes": "sent_bytes", "tx.pkts": "sent_packets", "tx.errs": "sent_errors", "tx.drop": "sent_dropped",
}  # fmt: skip
#: What the balloon says is in KiB, but for its counters.
_BALLOON = {
    "current": "current", "maximum": "maximum", "rss": "resident", "available": "available", "usable": "usable",
    "unused": "unused", "disk_caches": "disk_caches", "swap_in": "swapped_in", "swap_out": "swapped_out",
}  # fmt: skip
_COUNTERS = {"major_fault": "major_faults", "minor_fault": "minor_faults", "last-update": "last_update"}


def group(flat: Flat, name: str) -> list[dict[str, t.Any]]:
    """The entries of a numbered group (``block.0.name``), each with what is behind its number."""
    entries: dict[int, dict[str, t.Any]] = {}
    for key, value in flat.items():
        head, _dot, rest = key.partition(".")
        number, dot, what = rest.partition(".")
        if head == name and dot and number.isdigit():
            entries.setdefault(int(number), {})[what] = value
    return [entries[number] for number in sorted(entries)]


def usage(flat: Flat) -> dict[str, t.Any]:
    """What a domain has used since it was started, with what libvirt knows of it. ``flat`` of a domain that runs."""
    return {
        "cpu": {word: flat[f"cpu.{word}"] / _NANO for word in ("time", "user", "system") if f"cpu.{word}" in flat},
        "vcpus": [
            {"number": number, "time": entry.get("time", 0) / _NANO}
            for number, entry in enumerate(group(flat, "vcpu"))
            if "time" in entry or "state" in entry
        ],
        "memory": {
            **{ours: flat[f"balloon.{name}"] * _KIB for name, ours in _BALLOON.items() if f"balloon.{name}" in flat},
            **{ours: flat[f"balloon.{name}"] for name, ours in _COUNTERS.items() if f"balloon.{name}" in flat},
        },
    }


def disks(flat: Flat) -> dict[str, dict[str, t.Any]]:
    """What is known of the disks by target: sizes in bytes, and what was read and written."""
    found: dict[str, dict[str, t.Any]] = {}
    for entry in group(flat, "block"):
        # Of several of one disk the first is its own, the others are behind it.
        if "name" in entry and entry["name"] not in found:
            found[entry["name"]] = {
                "virtual_size": entry.get("capacity"),
                "allocated_size": entry.get("allocation"),
                "physical_size": entry.get("physical"),
                "stats": {ours: entry[name] for name, ours in _BLOCK.items() if name in entry} or None,
            }
    return found


def interfaces(flat: Flat) -> dict[str, dict[str, int]]:
    """What went through the interfaces, by the host's device. The directions are the guest's."""
    return {
        entry["name"]: {ours: entry[name] for name, ours in _NET.items() if name in entry}
        for entry in group(flat, "net")
        if "name" in entry
    }


def guest(flat: Flat) -> dict[str, t.Any]:
    """What the agent says of the guest's system (``os.id``, ``fs.0.mountpoint``)."""
    return {
        "hostname": flat.get("hostname"),
        "os": {key[3:].replace("-", "_"): value for key, value in flat.items() if key.startswith("os.")},
        "timezone": {"name": flat.get("timezone.name"), "offset": flat.get("timezone.offset")},
        "filesystems": [
            {
                "name": entry.get("name"),
                "mountpoint": entry.get("mountpoint"),
                "type": entry.get("fstype"),
                "size": entry.get("total-bytes"),
                "used": entry.get("used-bytes"),
                "disks": [value for key, value in sorted(entry.items()) if key.endswith(".alias")],
            }
            for entry in group(flat, "fs")
        ],
    }
