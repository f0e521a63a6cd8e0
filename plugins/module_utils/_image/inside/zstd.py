# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Images, inside: zstd, which Python's standard library has since 3.14 only, from the system's own library.

Source of the format: RFC 8878; of the calls: zstd.h.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, Unsupported

#: Compressed bytes and a size to exactly as many bytes.
Decompress = t.Callable[[bytes, int], bytes]


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which are alike."""

    _fields_: t.ClassVar[t.Any] = [("place", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t)]


def decompress(data: bytes, size: int) -> bytes:
    """``size`` bytes from the frame (or frames) at the begin of ``data``; what stands behind it is ignored.

    Never makes more than ``size`` bytes. Raises Damaged for another size or broken data, Unsupported without zstd.
    """
    function = _library() or _standard()
    if function is None:
        raise Unsupported("the image is compressed with zstd: install libzstd1 (libzstd on Red Hat's systems)")
    return function(data, size)


@functools.lru_cache(maxsize=1)
def _library() -> Decompress | None:
    """The system's libzstd, None where there is none. Its own limit of 128 MiB for a window bounds the memory."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    buffer = ctypes.POINTER(_Buffer)
    library.ZSTD_createDCtx.restype = ctypes.c_void_p
    library.ZSTD_freeDCtx.argtypes = [ctypes.c_void_p]
    library.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, buffer, buffer]
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    return functools.partial(_by_library, library)


def _by_library(library: ctypes.CDLL, data: bytes, size: int) -> bytes:
    context = library.ZSTD_createDCtx()
    if not context:
        raise Unsupported("there is not enough memory for zstd")
    try:
        return _streamed(library, context, data, size)
    finally:
        library.ZSTD_freeDCtx(context)


def _streamed(library: ctypes.CDLL, context: int, data: bytes, size: int) -> bytes:
    memory = ctypes.create_string_buffer(size)
    source = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
    target = _Buffer(ctypes.cast(memory, ctypes.c_void_p), size, 0)
    left = 1
    while target.pos < size:
        before = source.pos + target.pos
        left = library.ZSTD_decompressStream(context, ctypes.byref(target), ctypes.byref(source))
        if library.ZSTD_isError(left) or source.pos + target.pos == before:
            raise Damaged("a compressed cluster is no valid zstd")
    if left != 0:
        raise Damaged("a compressed cluster has another size than a cluster")
    return memory.raw


@functools.lru_cache(maxsize=1)
def _standard() -> Decompress | None:
    """The standard library's, None before Python 3.14."""
    try:
        module: t.Any = importlib.import_module("compression.zstd")
    except ImportError:
        return None
    return functools.partial(_by_module, module)


def _by_module(module: t.Any, data: bytes, size: int) -> bytes:
    """As the above, for one frame: that is what qemu writes."""
    stream = module.ZstdDecompressor()
    try:
        found: bytes = stream.decompress(data, size)
        # The end of a frame, with its checksum, is seen only by one who asks for more.
        more = b"" if stream.eof else stream.decompress(b"", 1)
    except (module.ZstdError, EOFError) as exc:
        raise Damaged("a compressed cluster is no valid zstd") from exc
    if len(found) != size or more or not stream.eof:
        raise Damaged("a compressed cluster has another size than a cluster")
    return found
