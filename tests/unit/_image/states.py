# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images as they would be observed: a guest on a base image, before and after it was made."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._image import declaration, edits, manifest, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.content import Area, Content
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.disk_file import FileState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.fstab import Device, Devices
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.inside.signature import Signature
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.observe import ImageState
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.seen import Seen
from ansible_collections.hypervisor.kvm.tests.unit._image.disks import GIB, Link
from ansible_collections.hypervisor.kvm.tests.unit._image.volumes import Entry, changed, shot

UUID = "a1111111-2222-3333-4444-555555555555"
GUEST: dict[str, t.Any] = {
    "etc/shadow": Entry("root:*:19000:0:99999:7:::\n", 0o640, 0, 42),
    "etc/fstab": "/dev/sda1 / ext4 errors=remount-ro 0 1\n",
    "etc/network/interfaces": "source /etc/network/interfaces.d/*\n",
    "etc/network/interfaces.d": None,
    "etc/ssh/ssh_host_rsa_key": "secret",
    "usr/sbin/ifup": "x",
    "sbin": Link("usr/sbin"),
    "root": Entry(None, 0o700),
}
PARAMS: dict[str, t.Any] = {
    "path": "/srv/a.qcow2",
    "source": {"image": {"path": "/srv/base.img"}},
    "customize": {
        "hostname": "a",
        "interfaces": [{"name": "eth0", "addresses": ["192.0.2.2/24"]}],
        "root_password": "$6$salt$hash",
        "files": [{"path": "/etc/secret", "content": "do not tell"}],
    },
}
COPY = {"image": {"path": "/srv/base.img", "mode": "copy"}}


def parse(**options: t.Any) -> spec.ImageSpec:
    return spec.parse({**PARAMS, **options})


def in_place(**options: t.Any) -> spec.ImageSpec:
    return spec.parse({"path": "/srv/a.qcow2", **options})


def files_of(wanted: spec.ImageSpec, files: t.Mapping[str, t.Any], former: t.Sequence[str] = ()) -> t.Any:
    """What stands in a guest at the paths that the declaration concerns."""
    paths = [*edits.paths(wanted), *former]
    return shot(files, [*paths, *edits.more_paths(wanted, shot(files, paths))])


def content(
    wanted: spec.ImageSpec,
    files: t.Mapping[str, t.Any] | None = None,
    *,
    kind: str = "ext4",
    label: str | None = "root",
    size: int = 2 * GIB,
    former: t.Sequence[str] = (),
    **more: t.Any,
) -> Content:
    """A file system on the whole disk with a guest in it."""
    area = Area(None, 0, size, Signature(kind, label, UUID))
    root = Device(None, UUID, label, None, None)
    found = Content(
        table="none",
        area=area,
        areas=(area,),
        fs_size=size,
        devices=Devices(root, kind, (root,)),
        snapshot=files_of(wanted, GUEST if files is None else files, former),
        kernels=({"version": "6.1", "kernel": "/boot/vmlinuz-6.1", "initrd": "/boot/initrd.img-6.1"},),
        data_bytes=1 << 20,
    )
    return dataclasses.replace(found, **more)


BASE = FileState(exists=True, regular=True, format="raw", virtual_size=2 * GIB, inode=7, mtime_ns=1)
BASE_ID = f"{2 * GIB}:1"


def nothing(wanted: spec.ImageSpec, **file: t.Any) -> ImageState:
    """Before anything was made: the base alone."""
    return ImageState(base=Seen(dataclasses.replace(BASE, **file), None, content(wanted)), free=9 * GIB)


def there(made: spec.ImageSpec, now: spec.ImageSpec | None = None, **file: t.Any) -> ImageState:
    """As it is after ``made`` was made, looked at for ``now``."""
    now = now or made
    overlay = made.is_overlay
    size = made.size or 2 * GIB
    disk = FileState(
        exists=True,
        regular=True,
        format=made.format,
        virtual_size=size,
        inode=8,
        mode="0600",
        backing=("/srv/base.img",) if overlay else (),
    )
    record = manifest.Manifest(
        id="one",
        declared=declaration.declared(made),
        base={"path": "/srv/base.img", "identity": BASE_ID},
        kernel=made.kernel,
        initrd=made.initrd,
    )
    record = t.cast(manifest.Manifest, manifest.load(manifest.dump(record)))
    existing = frozenset(path for path in (made.kernel, made.initrd) if path)
    fresh = content(made)
    files = changed(GUEST, edits.plan(made, fresh.snapshot, edits.PARTS, fresh.devices))  # type: ignore[arg-type]
    former = [entry["path"] for entry in record.declared.get("customize.files", ())]
    wanted = made.filesystem
    label = (wanted.label if wanted is not None else None) or "root"
    return ImageState(
        file=dataclasses.replace(disk, **file),
        manifest=record,
        content=content(now, files, label=label, former=former),
        existing=existing,
        base=Seen(BASE, None, content(now)),
        free=9 * GIB,
    )
