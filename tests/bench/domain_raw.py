# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor of the domain bench: the same work by libvirt's own API, in a fresh process.

``domain_raw.py read``: one connection, the list, every definition, parsed. ``domain_raw.py define FILE``: defines each of
the documents of a JSON list, ``domain_raw.py define FILE N`` by N threads. Prints one line of JSON: seconds and processor
seconds without imports, and a number. Not measured: ``domain_raw.py documents FILE`` keeps the definitions for ``define``,
``domain_raw.py clear`` removes them.
"""

from __future__ import annotations

import concurrent.futures
import json
import sys
import time
import typing as t
from pathlib import Path

import libvirt
from lxml import etree


def _read() -> int:
    connection = libvirt.open("qemu:///system")
    found = connection.listAllDomains(0)
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    return len([etree.fromstring(domain.XMLDesc(flags)) for domain in found])


def _define(documents: list[str], threads: int) -> int:
    connection = libvirt.open("qemu:///system")

    def some(first: int) -> None:
        for document in documents[first::threads]:
            connection.defineXML(document)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, range(threads)))
    return len(documents)


def _keep(file: Path) -> int:
    connection = libvirt.open("qemu:///system")
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    documents = [domain.XMLDesc(flags) for domain in connection.listAllDomains(0)]
    file.write_text(json.dumps(documents), encoding="utf-8")
    return len(documents)


def _clear() -> int:
    connection = libvirt.open("qemu:///system")
    found = connection.listAllDomains(0)
    for domain in found:
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    return len(found)


def main() -> None:
    """The command line."""
    documents: list[str] = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")) if sys.argv[1] == "define" else []
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    ways: dict[str, t.Callable[[], int]] = {
        "read": _read,
        "define": lambda: _define(documents, threads),
        "documents": lambda: _keep(Path(sys.argv[2])),
        "clear": _clear,
    }
    work = ways[sys.argv[1]]
    cpu, started = time.process_time(), time.perf_counter()
    count = work()
    print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "count": count}))


if __name__ == "__main__":
    main()
