"""The frame codec: a datapoint's bytes to its value and back. The pipeline decodes the same in columns."""

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

_ENCODING = re.compile(r"(u?int(?:8|16|24|32|48|64)|float(?:32|64))(?:[ _-]?(be|le))?", re.IGNORECASE)

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""What the table's columns of ids take."""


class FrameError(ValueError):
    """A frame can not be read, or a value can not be written into one."""


class LayoutError(FrameError):
    """A datapoint's layout can not hold for any frame: the metadata is wrong, not the frame."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how a datapoint's bytes are read: `kind` is i (signed), u (unsigned) or f (floating point)."""

    offset: int
    size: int
    kind: str
    byteorder: Literal["little", "big"]

    @property
    def end(self) -> int:
        """The first byte after the datapoint."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One value of a sensor's frame: `length` bytes at `offset`, read by `encoding`, divided by 10^decimals.

    `problem` says why the metadata's row could not be understood; no frame can then be read by it."""

    datapoint_id: Int32
    label: str
    offset: Int32
    length: Int32
    encoding: str
    decimals: Int32 = 0
    unit: str = ""
    problem: str = ""


def parse_hex(text: object) -> bytes:
    """The bytes of a hex frame, with or without spaces, in either case; FrameError says what is wrong."""
    if not isinstance(text, str):
        raise FrameError(f"data is a {type(text).__name__}, not a string of hex digits")
    try:
        frame = bytes.fromhex(text)
    except ValueError:
        raise FrameError(f"data {text[:64]!r} is not pairs of hex digits") from None
    if not frame:
        raise FrameError("data is empty")
    return frame


def format_hex(frame: bytes) -> str:
    """The form in which controllers send: upper case, a space between bytes."""
    return frame.hex(" ").upper()


def parse_encoding(name: str) -> tuple[str, int, Literal["little", "big"]]:
    """Kind, size and byte order of `Int16`, `Uint16`, `UInt32LE`, `Float32`: big-endian unless it says otherwise."""
    match = _ENCODING.fullmatch(name.strip())
    if not match:
        raise LayoutError(f"encoding {name!r} is unknown: Int8..Int64, UInt8..UInt64, Float32, Float64, with LE or BE")
    base, order = match[1].lower(), match[2] or "BE"
    return base[0], int(base.lstrip("uintfloa")) // 8, "little" if order.upper() == "LE" else "big"


def layout_of(datapoint: Datapoint) -> Layout:
    """Where the datapoint's bytes are; a whole number may be shorter or longer than its encoding's name says."""
    if datapoint.problem:
        raise LayoutError(datapoint.problem)
    kind, size, byteorder = parse_encoding(datapoint.encoding)
    if kind == "f" and datapoint.length != size:
        raise LayoutError(f"{datapoint.label}: {datapoint.encoding} is not {datapoint.length} bytes long")
    if not 1 <= datapoint.length <= 8:
        raise LayoutError(f"{datapoint.label}: length {datapoint.length} is not 1 to 8 bytes")
    if datapoint.offset < 0:
        raise LayoutError(f"{datapoint.label}: offset {datapoint.offset} is negative")
    if not -18 <= datapoint.decimals <= 18:
        raise LayoutError(f"{datapoint.label}: decimals {datapoint.decimals} is not -18 to 18")
    return Layout(datapoint.offset, datapoint.length, kind, byteorder)


def decode(frame: bytes, datapoint: Datapoint) -> float:
    """The datapoint's value in `frame`; FrameError where it does not fit the frame or is no finite number."""
    layout = layout_of(datapoint)
    raw = frame[layout.offset : layout.end]
    if len(raw) < layout.size:
        raise FrameError(f"{datapoint.label}: bytes {layout.offset} to {layout.end - 1} of a frame of {len(frame)}")
    if layout.kind == "f":
        (number,) = struct.unpack(_struct_format(layout), raw)
    else:
        number = int.from_bytes(raw, layout.byteorder, signed=layout.kind == "i")
    value = float(number / 10.0**datapoint.decimals)
    if not math.isfinite(value):
        raise FrameError(f"{datapoint.label}: {raw.hex()} is no finite number")
    return value


def encode(frame: bytearray, datapoint: Datapoint, value: float) -> None:
    """Writes `value` into the datapoint's bytes of `frame`; FrameError where it does not fit."""
    layout = layout_of(datapoint)
    if layout.end > len(frame):
        raise FrameError(f"{datapoint.label}: bytes {layout.offset} to {layout.end - 1} of a frame of {len(frame)}")
    scaled = value * 10.0**datapoint.decimals
    if not math.isfinite(scaled):
        raise FrameError(f"{datapoint.label}: {value} is no finite number")
    try:
        if layout.kind == "f":
            raw = struct.pack(_struct_format(layout), scaled)
        else:
            raw = round(scaled).to_bytes(layout.size, layout.byteorder, signed=layout.kind == "i")
    except OverflowError:
        raise FrameError(f"{datapoint.label}: {value} does not fit {datapoint.encoding}") from None
    frame[layout.offset : layout.end] = raw


def build_frame(datapoints: Sequence[Datapoint], values: Mapping[int, float]) -> bytes:
    """A frame like a controller's: Modbus RTU answer head, the values (by datapoint id) at their offsets, a CRC."""
    end = max(layout_of(datapoint).end for datapoint in datapoints)
    frame = bytearray(max(end, 3))
    frame[:3] = (0x01, 0x03, max(end - 3, 0))
    for datapoint in datapoints:
        encode(frame, datapoint, values[datapoint.datapoint_id])
    return bytes(frame) + modbus_crc(frame).to_bytes(2, "little")


def modbus_crc(data: bytes | bytearray) -> int:
    """The CRC-16 of Modbus RTU (polynomial 0xA001, start 0xFFFF), sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


def crc_holds(frame: bytes) -> bool:
    """Whether the frame ends with the CRC of what comes before it."""
    return len(frame) > 2 and modbus_crc(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def _struct_format(layout: Layout) -> str:
    return ("<" if layout.byteorder == "little" else ">") + ("f" if layout.size == 4 else "d")
