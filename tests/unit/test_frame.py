"""The frame codec: what domain.md says, every encoding, and encode after decode."""

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faces2.models.frame import (
    Datapoint,
    FrameError,
    LayoutError,
    build_frame,
    crc_holds,
    decode,
    encode,
    format_hex,
    layout_of,
    modbus_crc,
    parse_encoding,
    parse_hex,
)

SAMPLE = "01 03 0C 32 30 32 30 36 32 38 30 31 30 31 5B 18 28 01"


def point(encoding: str, length: int, decimals: int = 0, offset: int = 0, number: int = 1) -> Datapoint:
    return Datapoint(number, f"point {number}", offset, length, encoding, decimals)


def test_the_example_of_the_domain() -> None:
    points = [point("Int16", 2, 2, 3), point("Int16", 2, 2, 5), point("UInt16", 2, 0, 7)]
    assert [decode(parse_hex(SAMPLE), each) for each in points] == [128.48, 128.48, 13874]


@pytest.mark.parametrize(
    ("encoding", "raw", "decimals", "value"),
    [
        ("Int8", "80", 0, -128),
        ("UInt8", "80", 0, 128),
        ("Int16", "FFFE", 0, -2),
        ("UInt16", "FFFE", 0, 65534),
        ("Uint16", "FFFE", 0, 65534),
        ("uint16", "0102", 0, 258),
        ("Int16LE", "FEFF", 0, -2),
        ("UInt16 le", "0201", 0, 258),
        ("UINT16_LE", "0201", 0, 258),
        ("Int16BE", "FFFE", 0, -2),
        ("UInt24", "010203", 0, 66051),
        ("Int24LE", "FFFFFF", 0, -1),
        ("Int32", "80000000", 0, -(2**31)),
        ("UInt32-BE", "80000000", 0, 2**31),
        ("UInt32LE", "00000080", 0, 2**31),
        ("UInt48", "010000000000", 0, 2**40),
        ("Int64", "8000000000000000", 0, -(2.0**63)),
        ("UInt64", "FFFFFFFFFFFFFFFF", 0, 2.0**64),
        ("Float32", "3FC00000", 0, 1.5),
        ("Float32LE", "0000C03F", 0, 1.5),
        ("float64", "3FF8000000000000", 0, 1.5),
        ("Float64LE", "000000000000F83F", 1, 0.15),
        ("Int16", "04D2", 3, 1.234),
        ("Int16", "04D2", -1, 12340),
        # The length of the datapoint counts, not the one in the encoding's name.
        ("Int16", "FF", 0, -1),
        ("UInt16", "010000", 0, 65536),
        ("Int8", "FFFFFFFFFF", 0, -1),
        ("Int32", "00000000000001", 0, 1),
    ],
)
def test_encodings(encoding: str, raw: str, decimals: int, value: float) -> None:
    frame = b"\xaa" + bytes.fromhex(raw) + b"\xbb"
    datapoint = point(encoding, len(raw) // 2, decimals, offset=1)
    assert decode(frame, datapoint) == value
    again = bytearray(b"\xaa" + bytes(len(raw) // 2) + b"\xbb")
    if abs(value) < 2**53:
        encode(again, datapoint, value)
        assert bytes(again) == frame


@pytest.mark.parametrize("name", ["", "Int", "Int12", "UInt128", "Float16", "String", "Int16XE", "Int16 LE BE"])
def test_unknown_encodings(name: str) -> None:
    with pytest.raises(LayoutError, match="is unknown: Int8"):
        parse_encoding(name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "Float32", "length": 2}, "Float32 is not 2 bytes"),
        ({"length": 0}, "length 0 is not 1 to 8"),
        ({"length": 9}, "length 9 is not 1 to 8"),
        ({"offset": -1}, "offset -1 is negative"),
        ({"decimals": 400}, "decimals 400 is not -18 to 18"),
        ({"decimals": -19}, "decimals -19 is not"),
    ],
)
def test_layouts_that_hold_for_no_frame(change: dict[str, object], says: str) -> None:
    with pytest.raises(LayoutError, match=says):
        layout_of(replace(point("Int16", 2), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("datapoint", "frame", "says"),
    [
        (point("Int16", 2, offset=1), b"\x00\x00", "bytes 1 to 2 of a frame of 2"),
        (point("Int16", 2, offset=9), b"\x00\x00", "bytes 9 to 10 of a frame of 2"),
        (point("Float32", 4), struct.pack(">f", math.nan), "7fc00000 is no finite number"),
        (point("Float64", 8), struct.pack(">d", -math.inf), "no finite number"),
        (point("Float64", 8, -18), struct.pack(">d", 1e300), "no finite number"),
    ],
)
def test_frames_that_can_not_be_read(datapoint: Datapoint, frame: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        decode(frame, datapoint)


@pytest.mark.parametrize(
    ("datapoint", "value", "says"),
    [
        (point("UInt8", 1), 256, "256 does not fit UInt8"),
        (point("UInt8", 1), -1, "does not fit"),
        (point("Int16", 2, 2), 327.68, "does not fit"),
        (point("Float32", 4), 1e39, "does not fit"),
        (point("Int16", 2), math.nan, "no finite number"),
        (point("Float32", 4), math.inf, "no finite number"),
        (point("Int16", 2, offset=1), 1, "bytes 1 to 2 of a frame of 2"),
    ],
)
def test_values_that_can_not_be_written(datapoint: Datapoint, value: float, says: str) -> None:
    frame = bytearray(2 if datapoint.offset else 8)
    with pytest.raises(FrameError, match=says):
        encode(frame, datapoint, value)


@given(
    st.sampled_from(["Int8", "UInt16", "Int32LE", "UInt64", "Int24"]),
    st.integers(1, 8),
    st.integers(-3, 6),
    st.integers(0, 20),
    st.data(),
)
def test_a_whole_number_comes_back(encoding: str, length: int, decimals: int, offset: int, data: st.DataObject) -> None:
    signed = encoding.startswith("I")
    bits = min(8 * length - signed, 50)  # beyond that a double can not hold every number
    raw = data.draw(st.integers(-(2**bits) if signed else 0, 2**bits - 1))
    datapoint = point(encoding, length, decimals, offset)
    frame = bytearray(b"\xee" * (offset + length + 3))
    encode(frame, datapoint, raw / 10.0**decimals)
    assert decode(bytes(frame), datapoint) == raw / 10.0**decimals
    assert frame[:offset] == b"\xee" * offset
    assert frame[offset + length :] == b"\xee" * 3


@given(st.floats(-1000, 1000), st.integers(0, 4))
def test_a_measured_value_comes_back_within_the_resolution(value: float, decimals: int) -> None:
    frame = bytearray(4)
    datapoint = point("Int32", 4, decimals)
    encode(frame, datapoint, value)
    assert decode(bytes(frame), datapoint) == pytest.approx(value, abs=0.5000001 * 10.0**-decimals)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.booleans())
def test_a_float_comes_back(value: float, little: bool) -> None:
    for encoding, length in (("Float32", 4), ("Float64", 8)):
        frame = bytearray(length)
        datapoint = point(encoding + ("LE" if little else ""), length)
        encode(frame, datapoint, value)
        assert decode(bytes(frame), datapoint) == value


@given(st.binary(min_size=1), st.booleans(), st.booleans())
def test_hex_in_any_spelling(frame: bytes, spaces: bool, upper: bool) -> None:
    text = frame.hex(" ") if spaces else frame.hex()
    assert parse_hex(text.upper() if upper else text) == frame
    assert parse_hex(format_hex(frame)) == frame


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("0", "pairs"),
        ("01 0", "pairs"),
        ("0x01", "pairs"),
        ("zz", "'zz' is not pairs"),
        (None, "a NoneType, not a string"),
        (12, "a int, not"),
        ([[]], "a list, not"),
    ],
)
def test_bad_hex(data: object, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        parse_hex(data)


def test_a_built_frame_reads_back_and_its_crc_holds() -> None:
    points = [point("Int16", 2, 2, 3, 1), point("UInt8", 1, 0, 5, 2), point("Float32LE", 4, 0, 6, 3)]
    values = {1: -12.34, 2: 200.0, 3: 0.5}
    frame = build_frame(points, values)
    assert frame[:3] == b"\x01\x03\x07"
    assert len(frame) == 12
    assert {each.datapoint_id: decode(frame, each) for each in points} == values
    assert crc_holds(frame)
    assert not crc_holds(frame[:-1] + bytes([frame[-1] ^ 1]))


@pytest.mark.parametrize(
    ("frame", "holds"),
    [
        ("01 03 00 00 00 0A C5 CD", True),
        ("01 03 00 00 00 0A CD C5", False),
        (SAMPLE, False),
        ("01 02", False),
        ("FF FF", False),
    ],
)
def test_crc(frame: str, holds: bool) -> None:
    assert crc_holds(parse_hex(frame)) is holds


@given(st.binary(min_size=1, max_size=64), st.integers(0, 511))
def test_the_crc_sees_any_single_bit(data: bytes, bit: int) -> None:
    assume(bit < 8 * len(data))
    frame = bytearray(data + modbus_crc(data).to_bytes(2, "little"))
    assert crc_holds(bytes(frame))
    frame[bit // 8] ^= 1 << bit % 8
    assert not crc_holds(bytes(frame))
