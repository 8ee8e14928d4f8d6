"""Reads the variables of a TensorFlow checkpoint (a "tensor bundle") without TensorFlow.

`variables.index` is a table of LevelDB's format: sorted keys with shared prefixes, in blocks that an index block points at. Each
value is a BundleEntryProto, which says where the tensor lies in `variables.data-00000-of-00001`. Sources: LevelDB's table_format.md,
TensorFlow's tensor_bundle.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

_MAGIC = 0xDB4775248B80FB57
_FLOAT32 = 1  # DT_FLOAT


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, index behind it)."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _block(data: bytes, handle: bytes) -> bytes:
    """The block that a handle (offset and size) names."""
    offset, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    if data[offset + size] != 0:
        raise ValueError("a compressed block: only plain ones are supported")
    return data[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of a block; its end lists restart points, which a whole reading does not need."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + size]
        at += size


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a protobuf message's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
            case 2:
                size, at = _varint(message, at)
                yield tag >> 3, message[at : at + size]
                at += size
            case 5:
                yield tag >> 3, message[at : at + 4]
                at += 4
            case kind:
                raise ValueError(f"wire type {kind} was not expected")


def _integer(fields: dict[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise ValueError(f"field {number} is no integer")
    return value


def read_variables(index: Path, data: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Every float32 tensor by its key, e.g. `layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE`.

    Raises ValueError where the index is no such table or is compressed."""
    table, values = index.read_bytes(), data.read_bytes()
    if len(table) < 48 or int.from_bytes(table[-8:], "little") != _MAGIC:
        raise ValueError(f"{index.name}: not a checkpoint's index")
    footer = table[-48:]
    _, at = _varint(footer, 0)  # the handle of the meta index: offset and size
    _, at = _varint(footer, at)
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for _, handle in _entries(_block(table, footer[at:])):
        for key, message in _entries(_block(table, handle)):
            fields = dict(_fields(message))
            if key == b"" or fields.get(1) != _FLOAT32:
                continue
            shape = []
            sizes = fields.get(2, b"")
            for number, dimension in _fields(sizes if isinstance(sizes, bytes) else b""):
                if number == 2 and isinstance(dimension, bytes):
                    shape.append(_integer(dict(_fields(dimension)), 1))
            offset, size = _integer(fields, 4), _integer(fields, 5)
            tensors[key.decode()] = np.frombuffer(values[offset : offset + size], "<f4").reshape(shape).copy()
    return tensors
