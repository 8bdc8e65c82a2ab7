"""Rubbish, from a random generator: bytes and texts that were something, and JSON values that fit nowhere."""

import string
from random import Random
from typing import Any

import orjson

TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"/", b"+", b"#", b" ", b"\t", b"\n", b"\r", b"\x00", b"\x7f"),
    *(b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"\\u", b"\\x41", b"null", b"true", b"-", b"-0", b"1e999", b"1e-999"),
    *(b"NaN", b"Infinity", b"9223372036854775808", b"18446744073709551616", b"0x41", b"01", b"1.", b"//", b"/*"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xc2\xa0", b"\xe2\x80\xae"),
    *("１２".encode(), "é".encode(), "😀".encode(), b"%s", b"{0}", b"'; --", b"0" * 300, b"[" * 300, b"9" * 400),
)
TEXTS = (
    *("", " ", "0", "01", "01 03", "zz", "null", "J0", "J5", "j1", "sensor-0", "sensor-7", "sensor-mode", "alarm-mode"),
    *("\x00", "\n", "é", "１", "😀", "\u202e", "a" * 300, "00" * 5000, "../../etc", "aabbccddee01", "AABBCCDDEE01"),
    *("0001-01-01", "9999-12-31 23:59:59.999999", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "10000-01"),
    *("2023-02-29 00:00:00", "2024-02-29", "2023-W21-4", "20230525T151310Z", "2023-05-25 24:00:00", "1e9", "now"),
    *("2023-05-25T15:13:10.5434009", "2023-05-25 15:13:60", "2023-05-25T15:13:10+00:00:00.000001", "-001-01-01"),
)
NUMBERS = (
    *(0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1),
    *(0.0, -0.0, 0.1, 1e308, 5e-324, 1e-7, -1.5, 1.7976931348623157e308, 123456789.123456789),
)


def value(rng: Random, depth: int = 2) -> Any:
    """Some JSON value."""
    kind = rng.randrange(10 if depth else 7)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind < 7:
        return rng.choice((None, True, False))
    if kind < 8:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind < 9:
        return {rng.choice(TEXTS): value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return text(rng, "2023-05-25 15:13:10.543400")


def document(rng: Random, content: dict[str, Any], inner: str | None = None) -> dict[str, Any]:
    """The object with one or two of its fields gone, replaced or added; also those of its field `inner`."""
    content = dict(content)
    if inner is not None and isinstance(content.get(inner), dict) and rng.random() < 0.6:
        return content | {inner: document(rng, content[inner])}
    for _ in range(rng.randint(1, 2)):
        name = rng.choice([*content, "extra"])
        match rng.randrange(4):
            case 0:
                content.pop(name, None)
            case 1 if isinstance(content.get(name), str):
                content[name] = text(rng, content[name])
            case _:
                content[name] = value(rng)
    return content


def dumped(content: Any) -> bytes:
    """As JSON."""
    return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


def parsed(text: bytes) -> Any:
    """JSON as it is meant to be."""
    return orjson.loads(text)


def data(rng: Random, origin: bytes) -> bytes:
    """`origin` after one to four strokes: flips, cuts, doublings, insertions of what means something."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(origin) + 1)
        end = min(len(origin), at + rng.choice((1, 1, 2, 3, 8, 40)))
        match rng.randrange(7):
            case 0:
                origin = origin[:at]
            case 1:
                origin = origin[:at] + origin[end:]
            case 2:
                origin = origin[:end] + origin[at:]
            case 3 if at < len(origin):
                origin = origin[:at] + bytes((origin[at] ^ 1 << rng.randrange(8),)) + origin[at + 1 :]
            case 4:
                origin = origin[:at] + rng.randbytes(end - at) + origin[end:]
            case _:
                origin = origin[:at] + rng.choice(TOKENS) + origin[rng.choice((at, end)) :]
    return origin


def text(rng: Random, origin: str) -> str:
    """`origin` with a character gone, changed, doubled or added."""
    at = rng.randrange(len(origin) + 1)
    other = rng.choice((rng.choice(string.printable), rng.choice(string.hexdigits), rng.choice("\x00é１😀\u2028")))
    return origin[:at] + rng.choice(("", other, origin[at : at + 1] * 2)) + origin[at + rng.randrange(2) :]
