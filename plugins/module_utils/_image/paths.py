# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images: the paths of files on this host that a declaration may name. Pure."""

from __future__ import annotations

import os.path
import re

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

#: The suffix of the record that stands beside an image.
MANIFEST_SUFFIX = ".kvm_image.json"
# A comma, a question mark or a quote would mean something to the programs that are given the path.
_CLEAN_PATH = re.compile(r"/[^\x00-\x1f,?\"\\]*")


def work_folder(target: str) -> str:
    """Where the image ``target`` is made and changed."""
    return os.path.join(os.path.dirname(target), f".kvm_image.{os.path.basename(target)}")


def half_done(target: str) -> str:
    """The file that is there while a verified change is being put into the image ``target``."""
    return os.path.join(work_folder(target), "commit.qcow2")


def check_path(path: str, value: str | None, what: str) -> str | None:
    """``value``, the option ``what`` of the image ``path``, if it is a plain absolute path of a file; else InvalidSpec."""
    if value is None:
        return None
    if not _CLEAN_PATH.fullmatch(value) or os.path.normpath(value) != value or value == "/":
        raise InvalidSpec(
            f"image {path}: {what} '{value}' is no plain absolute path of a file"
            " (no '..', no double or trailing slash, no comma, question mark, quote or backslash)."
        )
    if value.endswith(MANIFEST_SUFFIX):
        raise InvalidSpec(f"image {path}: {what} ends in {MANIFEST_SUFFIX}, the name of the records of this module.")
    return value


def check_partition(path: str, value: str | None) -> int | str | None:
    """The option ``partition`` of the image ``path``: a number, ``root`` or None; raises InvalidSpec."""
    if value in (None, "root"):
        return value
    if not re.fullmatch(r"[0-9]{1,3}", str(value)) or not 1 <= int(str(value)) <= 128:
        raise InvalidSpec(f"image {path}: partition '{value}' is neither root nor a number from 1 to 128.")
    return int(str(value))
