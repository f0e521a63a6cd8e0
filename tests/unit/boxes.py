# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A floor of the tests' own: boxes that have a size, kept in a file. What it takes to test the way of every module."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, LibvirtError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work

OPTIONS: dict[str, t.Any] = {"name": {"type": "str"}, "state": {"type": "str"}, "size": {"type": "int"}}
COMMON: dict[str, t.Any] = {"store": {"type": "str"}}


@dataclasses.dataclass(frozen=True)
class Box:
    name: str
    size: int | None
    state: str = "present"


BoxWork = Work[Box, dict[str, t.Any]]


class BoxFloor(Floor[Box, "dict[str, t.Any]"]):
    """Boxes named ``stuck`` cannot be changed, boxes named ``locked`` cannot be read."""

    kind = "box"
    list_option = "boxes"

    def __init__(self) -> None:
        super().__init__()
        self.sessions = self.looks = 0

    def parse(self, params: dict[str, t.Any]) -> Box:
        if (params.get("size") or 0) < 0:
            raise InvalidSpec(f"box {params['name']}: a size of {params['size']} is impossible.")
        return Box(params["name"], params.get("size"), params.get("state") or "present")

    def check_together(self, specs: t.Sequence[Box]) -> None:
        if sum(spec.size or 0 for spec in specs) > 100:
            raise InvalidSpec("The boxes do not fit into the house together.")

    @contextlib.contextmanager
    def _open(self, store: str) -> t.Iterator[pathlib.Path]:
        self.sessions += 1
        yield pathlib.Path(store)

    def session(self, params: dict[str, t.Any]) -> t.ContextManager[pathlib.Path]:
        return self._open(params["store"])

    def observe(self, session: pathlib.Path, spec: Box) -> dict[str, t.Any]:
        self.looks += 1
        if spec.name == "locked":
            raise LibvirtError("Cannot read box locked: no key.", libvirt_code=38)
        return dict(_load(session).get(spec.name, {}))

    def compare(self, spec: Box, observed: dict[str, t.Any]) -> ChangeSet:
        changes = ChangeSet(spec.name)
        if spec.state == "absent":
            if observed:
                changes.add("state", "present", "absent")
            return changes
        changes.compare("state", "present" if observed else "absent", "present")
        changes.compare("size", observed.get("size"), spec.size, "next_boot" if observed else "live")
        return changes

    def apply(self, session: pathlib.Path, work: BoxWork) -> None:
        if work.name == "stuck":
            raise LibvirtError("Cannot change box stuck: it is stuck.", libvirt_code=1)
        boxes = _load(session)
        boxes.pop(work.name, None)
        if work.spec.state == "present":
            boxes[work.name] = {"size": work.spec.size}
        session.write_text(json.dumps(boxes))
        self.say(f"changed {work.name}")
        work.warnings.append(f"box {work.name} was changed")

    def finish_all(self, session: pathlib.Path, works: t.Sequence[BoxWork]) -> bool:
        for work in works:
            work.facts["finished"] = True
        return False

    def facts(self, session: pathlib.Path, work: BoxWork) -> dict[str, t.Any]:
        return {"box": work.seen or None}


def _load(store: pathlib.Path) -> dict[str, dict[str, t.Any]]:
    boxes: dict[str, dict[str, t.Any]] = json.loads(store.read_text())
    return boxes
