"""MAC addresses: twelve hex digits in topics and keys (`aabbccddee01`), with colons elsewhere (`aa:bb:cc:dd:ee:01`)."""

import re

_MAC = re.compile(r"[0-9a-f]{2}(?:([:-]?)[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}")


def compact_mac(text: str) -> str:
    """`AA:BB:CC:DD:EE:01`, `aa-bb-…` or `aabb…` -> `aabbccddee01`; ValueError names what was given."""
    lowered = text.strip().lower()
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"{text!r} is no MAC address: twelve hex digits, with or without colons, are allowed")
    return lowered.replace(":", "").replace("-", "")


def colon_mac(compact: str) -> str:
    """`aabbccddee01` -> `aa:bb:cc:dd:ee:01`."""
    return ":".join(compact[i : i + 2] for i in range(0, 12, 2))
