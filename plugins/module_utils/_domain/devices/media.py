# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Video and sound devices of a domain, known by their order. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.common import (
    PLACE,
    forget_place,
    only,
    virtio_driver,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kind import Kind
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import (
    Leaf,
    Values,
    attribute,
    attributes,
    clearing,
    drop_children,
    switch,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.lists import texts
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.shapes import (
    ON_OFF,
    PATH,
    TEXT,
    YES_NO,
    number,
    size,
    words,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element

_VIDEO_MODELS = words("virtio", "vga", "qxl", "cirrus", "bochs", "ramfb", "vmvga", "xen", "vbox", "gop", "none")
_MEMORY = size("KiB", "KiB")


def complete_video(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``videos``."""
    model, what = values.setdefault("model", "virtio"), f"{what}: videos[{index}]"
    only(what, values, ("ram", "vgamem", "vram64"), model == "qxl", "model qxl")
    only(what, values, ("blob",), model == "virtio", "model virtio")
    only(
        what,
        values,
        ("vram", "heads", "primary", "acceleration", "resolution", "driver"),
        model != "none",
        "models other than none",
    )
    resolution = [option for option in values if option.startswith("resolution.")]
    if len(resolution) == 1:
        raise InvalidSpec(f"{what}: resolution needs x and y.")


def _write_model(node: Element, value: t.Any) -> None:
    # Memory sizes and the like belong to the old model.
    drop_children(node, "model", "driver")
    if value in (None, "none"):
        drop_children(node, "address", "alias")
    elif value == "ramfb":
        # It is on no bus.
        forget_place(node)
    _xml.child(node, "model", {"type": value or "virtio"})


VIDEOS = Kind(
    "videos",
    "video",
    (
        Leaf("model", lambda node: _xml.find_attribute(node, "model", "type"), _write_model, _VIDEO_MODELS, keep=True),
        *attributes("", "model", _MEMORY, "vram", "ram", "vgamem", "vram64"),
        attribute("heads", "model", "heads", number(1)),
        attribute("primary", "model", "primary", YES_NO),
        attribute("blob", "model", "blob", ON_OFF),
        attribute("edid", "model", "edid", ON_OFF),
        attribute("acceleration.accel3d", "model/acceleration", "accel3d", YES_NO),
        attribute("acceleration.accel2d", "model/acceleration", "accel2d", YES_NO),
        attribute("acceleration.rendernode", "model/acceleration", "rendernode", PATH),
        *attributes("resolution.", "model/resolution", number(1), "x", "y"),
        attribute("driver.name", "driver", "name", words("qemu", "vhostuser")),
        attribute("driver.vgaconf", "driver", "vgaconf", words("io", "on", "off")),
        *virtio_driver(),
        *PLACE,
    ),
    complete_video,
    first="primary",
)


def complete_sound(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``sounds``."""
    model = values.setdefault("model", "ich9")
    only(f"{what}: sounds[{index}]", values, ("codecs",), model in ("ich6", "ich9"), "models ich6 and ich9")
    only(f"{what}: sounds[{index}]", values, ("streams",), model == "virtio", "model virtio")


def _clear_sound(node: Element) -> None:
    drop_children(node, "codec")
    forget_place(node)


_CODECS = words("duplex", "micro", "output")

SOUNDS = Kind(
    "sounds",
    "sound",
    (
        switch(
            "model",
            "model",
            words("ich9", "ich7", "ich6", "ac97", "es1370", "sb16", "pcspk", "usb", "virtio"),
            _clear_sound,
        ),
        texts("codecs", ".", "codec", "type", _CODECS, choices=True),
        attribute("streams", ".", "streams", number(1)),
        attribute("audio", "audio", "id", number(1)),
        *PLACE,
    ),
    complete_sound,
)


#: Options of audio that not all types have, with those that have them.
_OF_TYPES: dict[str, tuple[str, ...]] = {
    "server_name": ("pulseaudio",),
    "path": ("file",),
    "driver": ("sdl",),
    "try_mmap": ("oss",),
    "exclusive": ("oss",),
    "dsp_policy": ("oss",),
}
#: The same of one direction.
_OF_DIRECTIONS: dict[str, tuple[str, ...]] = {
    "dev": ("alsa", "oss"),
    "buffer_count": ("coreaudio", "oss", "sdl"),
    "try_poll": ("oss",),
    "name": ("pipewire", "pulseaudio"),
    "stream_name": ("pipewire", "pulseaudio"),
    "latency": ("pipewire", "pulseaudio"),
    "server_name": ("jack",),
    "client_name": ("jack",),
    "connect_ports": ("jack",),
    "exact_name": ("jack",),
}
_DIRECTIONS = ("input", "output")


def complete_audio(what: str, index: int, values: Values) -> None:
    """Looks at one entry of ``audios``."""
    what, kind = f"{what}: audios[{index}]", values.get("type")
    if kind is None:
        raise InvalidSpec(f"{what} needs a type.")
    values.setdefault("id", index + 1)
    for option, types in _OF_TYPES.items():
        only(what, values, (option,), kind in types, f"type {' or '.join(types)}")
    for direction in _DIRECTIONS:
        for option, types in _OF_DIRECTIONS.items():
            only(what, values, (f"{direction}.{option}",), kind in types, f"type {' or '.join(types)}")
        fixed = values.get(f"{direction}.fixed_settings")
        if fixed and not values.get(f"{direction}.mixing_engine"):
            raise InvalidSpec(
                f"{what}: {direction}.fixed_settings needs {direction}.mixing_engine, for qemu has to convert."
            )
        only(what, values, (f"{direction}.settings",), bool(fixed), f"{direction}.fixed_settings")


def _direction(name: str) -> tuple[Leaf, ...]:
    """What plays, or what records."""
    return (
        *attributes(f"{name}.", name, YES_NO, "mixingEngine", "fixedSettings"),
        *attributes(f"{name}.", name, number(1), "voices", "bufferLength"),
        attribute(f"{name}.settings.frequency", f"{name}/settings", "frequency", number(1)),
        attribute(f"{name}.settings.channels", f"{name}/settings", "channels", number(1)),
        attribute(f"{name}.settings.format", f"{name}/settings", "format", _SAMPLES),
        attribute(f"{name}.dev", name, "dev"),
        attribute(f"{name}.buffer_count", name, "bufferCount", number(1)),
        attribute(f"{name}.try_poll", name, "tryPoll", YES_NO),
        *attributes(f"{name}.", name, TEXT, "name", "streamName"),
        attribute(f"{name}.latency", name, "latency", number(1)),
        *attributes(f"{name}.", name, TEXT, "serverName", "clientName", "connectPorts"),
        attribute(f"{name}.exact_name", name, "exactName", YES_NO),
    )


_SAMPLES = words("s8", "u8", "s16", "u16", "s32", "u32", "f32")


AUDIOS = Kind(
    "audios",
    "audio",
    (
        attribute("id", ".", "id", number(1, 255), keep=True),
        switch(
            "type",
            "type",
            words("none", "alsa", "coreaudio", "dbus", "file", "jack", "oss", "pipewire", "pulseaudio", "sdl", "spice"),
            clearing("input", "output"),
        ),
        attribute("timer_period", ".", "timerPeriod", number(1)),
        attribute("server_name", ".", "serverName"),
        attribute("path", ".", "path", PATH),
        attribute("driver", ".", "driver"),
        attribute("try_mmap", ".", "tryMMap", YES_NO),
        attribute("exclusive", ".", "exclusive", YES_NO),
        attribute("dsp_policy", ".", "dspPolicy", number(-1)),
        *(leaf for name in _DIRECTIONS for leaf in _direction(name)),
    ),
    complete_audio,
    identity="id",
)
