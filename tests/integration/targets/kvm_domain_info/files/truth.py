# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""truth.py: what virsh, qemu-img and the kernel say of all domains, as JSON.

truth.py BEFORE SEEN: compares that with what the module said in between (the file SEEN, its `domains`); whatever grows has to be
between what was read before (the file BEFORE) and what is read now. Prints the differences.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from xml.etree import ElementTree

_STATES = {"shut off": "stopped", "in shutdown": "stopping", "pmsuspended": "suspended"}
Facts = dict[str, t.Any]


def say(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def virsh(*argv: str) -> str:
    return say("virsh", *argv)


def pairs(text: str, between: str = ":") -> dict[str, str]:
    """Lines of a name and a value."""
    found = (re.split(between, line, maxsplit=1) for line in text.splitlines() if re.search(between, line))
    return {name.strip(): value.strip() for name, value in found}


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[2:] if line.strip()]


def disks(name: str, active: bool) -> tuple[Facts, Facts]:
    facts: Facts = {}
    growing: Facts = {}
    for _type, device, target, source in table(virsh("domblklist", name, "--details")):
        facts[f"disks.{target}.device"] = device
        if source == "-":
            facts[f"disks.{target}.virtual_size"] = None
            continue
        size = pairs(virsh("domblkinfo", name, target))
        chain = json.loads(say("qemu-img", "info", "-U", "--backing-chain", "--output", "json", source))
        facts |= {
            f"disks.{target}.source": source,
            f"disks.{target}.virtual_size": int(size["Capacity"]),
            f"disks.{target}.allocated_size": os.stat(source).st_blocks * 512,
            f"disks.{target}.physical_size": int(size["Physical"]),
            f"disks.{target}.backing_chain": [layer["filename"] for layer in chain[1:]],
        }
        if active:
            counters = pairs(virsh("domblkstat", name, target), " (?=[0-9-]+$)")
            growing[f"disks.{target}.stats.read_bytes"] = int(counters[f"{target} rd_bytes"])
            growing[f"disks.{target}.stats.write_requests"] = int(counters[f"{target} wr_req"])
        else:
            facts[f"disks.{target}.stats"] = None
    return facts, growing


def interfaces(name: str, active: bool) -> tuple[Facts, Facts]:
    facts: Facts = {"addresses": []}
    growing: Facts = {}
    for device, _type, source, model, mac in table(virsh("domiflist", name)):
        facts |= {f"interfaces.{mac}.source": source, f"interfaces.{mac}.model": model}
        if active:
            counters = pairs(virsh("domifstat", name, device), " (?=[0-9-]+$)")
            growing[f"interfaces.{mac}.stats.received_bytes"] = int(counters[f"{device} rx_bytes"])
            growing[f"interfaces.{mac}.stats.sent_packets"] = int(counters[f"{device} tx_packets"])
            leases = table(virsh("domifaddr", name, "--source", "lease"))
            found = [line[-1].partition("/")[0] for line in leases if line[1] == mac]
            facts[f"interfaces.{mac}.addresses"] = found
            facts["addresses"] += found
    return facts, growing


def snapshots(name: str) -> list[list[t.Any]]:
    found: list[list[t.Any]] = []
    for line in virsh("snapshot-list", name, "--name", "--topological").splitlines():
        info = pairs(virsh("snapshot-info", name, line))
        parent = None if info["Parent"] == "-" else info["Parent"]
        found.append([line, parent, info["Current"] == "yes", info["State"], info["Location"]])
    return sorted(found)


def running(name: str) -> tuple[Facts, Facts]:
    """What there is of running ones only."""
    stats = pairs(virsh("domstats", "--raw", "--cpu-total", "--balloon", "--vcpu", name), "=")
    with open(f"/run/libvirt/qemu/{name}.pid", encoding="ascii") as file:
        seconds = int(say("ps", "-o", "etimes=", "-p", file.read().strip()))
    facts = {"stats.memory.current": int(stats["balloon.current"]) * 1024}
    growing = {
        "stats.cpu.time": int(stats["cpu.time"]) / 1e9,
        "stats.vcpus.0.time": int(stats["vcpu.0.time"]) / 1e9,
        "uptime": float(seconds),
    }
    return facts, growing


def domain(name: str) -> dict[str, Facts]:
    info = pairs(virsh("dominfo", name))
    state, reason = re.fullmatch(r"(.*) \((.*)\)", virsh("domstate", name, "--reason")).groups()  # type: ignore[union-attr]
    active, persistent = info["Id"] != "-", info["Persistent"] == "yes"
    document = virsh("dumpxml", name)
    root = ElementTree.fromstring(document)
    title = root.findtext("title")
    facts: Facts = {
        "uuid": virsh("domuuid", name),
        "id": int(info["Id"]) if active else None,
        "state": "saved" if info["Managed save"] == "yes" else _STATES.get(state, state),
        "reason": reason.replace(" ", "_"),
        "autostart": info.get("Autostart") == "enable",
        "persistent": persistent,
        "managed_save": info["Managed save"] == "yes",
        "title": title,
        "memory": int(info["Max memory"].split()[0]) * 1024,
        "vcpus": int(info["CPU(s)"]),
        "type": root.get("type"),
        "machine": root.find("os/type").get("machine"),  # type: ignore[union-attr]
        "snapshots": snapshots(name),
        "xml": document,
        "inactive_xml": virsh("dumpxml", "--inactive", name) if active and persistent else None,
        "display": virsh("vncdisplay", name) if active and root.find("devices/graphics") is not None else None,
        "uptime": None,
        "stats": None,
    }
    growing: Facts = {}
    parts = [disks(name, active), interfaces(name, active)]
    if active:
        del facts["uptime"], facts["stats"]
        parts.append(running(name))
    for some, more in parts:
        facts |= some
        growing |= more
    return {"facts": facts, "growing": growing}


def everything() -> dict[str, dict[str, Facts]]:
    return {name: domain(name) for name in virsh("list", "--all", "--name").splitlines() if name}


def flat(entry: Facts) -> Facts:
    """What the module says, with the names used here."""
    found: Facts = {
        **entry,
        "inactive_xml": (entry.get("inactive_xml") or "").strip() or None,
        "xml": entry["xml"].strip(),
    }
    found["display"] = entry["graphics"][0]["display"] if entry["graphics"] else None
    found["snapshots"] = sorted(
        [item["name"], item["parent"], item["current"], item["state"], item["kind"]] for item in entry["snapshots"]
    )
    for option, key in (("disks", "target"), ("interfaces", "mac")):
        for device in entry[option]:
            found |= {f"{option}.{device[key]}.{name}": value for name, value in device.items()}
            found |= {f"{option}.{device[key]}.stats.{name}": value for name, value in (device["stats"] or {}).items()}
    for kind, values in (entry["stats"] or {}).items():
        numbered = enumerate(values) if isinstance(values, list) else values.items()
        for name, value in numbered:
            found |= (
                {f"stats.{kind}.{name}.{key}": item for key, item in value.items()}
                if isinstance(value, dict)
                else {f"stats.{kind}.{name}": value}
            )
    return found


def differences(before: dict[str, dict[str, Facts]], seen: list[Facts]) -> list[str]:
    now = everything()
    wrong = (
        [] if [entry["name"] for entry in seen] == sorted(now) else [f"the names: {[entry['name'] for entry in seen]}"]
    )
    for entry in seen:
        name, said = entry["name"], flat(entry)
        for key, value in now[name]["facts"].items():
            if said.get(key) != value:
                wrong.append(f"{name}: {key} is {value!r}, not {said.get(key)!r}")
        for key, value in now[name]["growing"].items():
            least = before[name]["growing"][key]
            # Programs and the kernel count whole seconds.
            slack = 1.01 if key == "uptime" else 0
            if said.get(key) is None or not least - slack <= said[key] <= value + slack:
                wrong.append(f"{name}: {key} is between {least} and {value}, not {said.get(key)!r}")
    return wrong


def main() -> None:
    if len(sys.argv) == 1:
        json.dump(everything(), sys.stdout)
        return
    before, seen = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])  # noqa: SIM115
    wrong = differences(before, seen["domains"])
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
