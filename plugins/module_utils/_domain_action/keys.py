# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Actions on domains: keys by the names that Linux gives them. Pure.

Source: linux/input-event-codes.h, whose numbers libvirt takes (VIR_KEYCODE_SET_LINUX).
"""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

#: The first number of a row of keys, and their names.
_ROWS = {
    1: (
        "ESC 1 2 3 4 5 6 7 8 9 0 MINUS EQUAL BACKSPACE TAB Q W E R T Y U I O P LEFTBRACE RIGHTBRACE ENTER "
        "LEFTCTRL A S D F G H J K L SEMICOLON APOSTROPHE GRAVE LEFTSHIFT BACKSLASH Z X C V B N M COMMA DOT "
        "SLASH RIGHTSHIFT KPASTERISK LEFTALT SPACE CAPSLOCK F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NUMLOCK SCROLLLOCK "
        "KP7 KP8 KP9 KPMINUS KP4 KP5 KP6 KPPLUS KP1 KP2 KP3 KP0 KPDOT"
    ),
    85: (
        "ZENKAKUHANKAKU 102ND F11 F12 RO KATAKANA HIRAGANA HENKAN KATAKANAHIRAGANA MUHENKAN KPJPCOMMA KPENTER "
        "RIGHTCTRL KPSLASH SYSRQ RIGHTALT LINEFEED HOME UP PAGEUP LEFT RIGHT END DOWN PAGEDOWN INSERT DELETE "
        "MACRO MUTE VOLUMEDOWN VOLUMEUP POWER KPEQUAL KPPLUSMINUS PAUSE SCALE KPCOMMA HANGEUL HANJA YEN "
        "LEFTMETA RIGHTMETA COMPOSE STOP AGAIN PROPS UNDO FRONT COPY OPEN PASTE FIND CUT HELP MENU CALC SETUP "
        "SLEEP WAKEUP"
    ),
    183: "F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23 F24",
    210: "PRINT",
}
NUMBERS = {name: first + index for first, row in _ROWS.items() for index, name in enumerate(row.split())}
#: What people call them.
_ALIASES = {
    "CTRL": "LEFTCTRL", "CONTROL": "LEFTCTRL", "SHIFT": "LEFTSHIFT", "ALT": "LEFTALT", "ALTGR": "RIGHTALT",
    "META": "LEFTMETA", "SUPER": "LEFTMETA", "WIN": "LEFTMETA", "DEL": "DELETE", "INS": "INSERT", "ESCAPE": "ESC",
    "RETURN": "ENTER", "PGUP": "PAGEUP", "PGDN": "PAGEDOWN", "PRINTSCREEN": "SYSRQ", "PRTSC": "SYSRQ",
}  # fmt: skip
#: libvirt takes no more at once.
_MOST = 16


def parse(what: str, chord: str) -> tuple[int, ...]:
    """``ctrl+alt+delete`` to the numbers of keys that are pressed together; raises InvalidSpec for an unknown one."""
    numbers: list[int] = []
    for word in chord.split("+"):
        name = word.strip().upper()
        name = name[4:] if name.startswith("KEY_") else name
        number = NUMBERS.get(_ALIASES.get(name, name))
        if number is None:
            raise InvalidSpec(
                f"{what}: there is no key '{word.strip()}' (in '{chord}'); keys have the names of Linux"
                " (ENTER, LEFTCTRL, F1), and + is between those that are pressed together."
            )
        if number in numbers:
            raise InvalidSpec(f"{what}: '{chord}' has the key '{word.strip()}' twice; once is enough.")
        numbers.append(number)
    if len(numbers) > _MOST:
        raise InvalidSpec(f"{what}: '{chord}' are {len(numbers)} keys at once; {_MOST} at most.")
    return tuple(numbers)
