"""Parse: a record of raw-iot-data to the frame it carries. Pure; the shape is models.messages.RawMessage."""

from typing import NamedTuple

from faces2.models.clock import parse_timestamp
from faces2.models.dead_letter import Reason, RejectedError
from faces2.models.frame import FrameError, crc_holds, parse_hex
from faces2.models.messages import parse_json
from faces2.models.topic import SENSOR_MODE

OTHER_MODES = frozenset({"access-control-mode", "alarm-mode"})


class RawFrame(NamedTuple):
    """A sensor frame and where it came from; `micros` is the controller's time since 1970."""

    mac: str
    connector: str
    component: str
    micros: int
    frame: bytes


def parse_record(value: bytes | None, check_crc: bool = False) -> RawFrame | str:
    """The frame of a record, or the mode of a message that carries none; RejectedError says why it is neither."""
    message = parse_json(value)
    try:
        mode = message["mode"]
        if mode != SENSOR_MODE:
            if isinstance(mode, str) and mode in OTHER_MODES:
                return mode
            shown = repr(mode[:64]) if isinstance(mode, str) else type(mode).__name__
            raise RejectedError(Reason.BAD_MESSAGE, f"mode {shown} is unknown")
        mac, connector, component = message["device_mac"], message["connector"], message["component"]
        payload = message["payload"]
        timestamp, data = payload["timestamp"], payload["data"]
    except KeyError as error:
        raise RejectedError(Reason.BAD_MESSAGE, f"{error} is missing") from None
    except TypeError:
        raise RejectedError(Reason.BAD_MESSAGE, "the record or its payload is no object") from None
    if not (isinstance(mac, str) and isinstance(connector, str) and isinstance(component, str)):
        raise RejectedError(Reason.BAD_MESSAGE, "device_mac, connector and component are not all strings")
    return RawFrame(mac, connector, component, _micros(timestamp), _frame(data, check_crc))


def _micros(timestamp: object) -> int:
    try:
        return parse_timestamp(timestamp)
    except ValueError as error:
        raise RejectedError(Reason.BAD_TIMESTAMP, str(error)) from None


def _frame(data: object, check_crc: bool) -> bytes:
    try:
        frame = parse_hex(data)
    except FrameError as error:
        raise RejectedError(Reason.BAD_HEX, str(error)) from None
    if check_crc and not crc_holds(frame):
        raise RejectedError(Reason.BAD_CRC, f"the last two bytes of {frame.hex()[:64]} are not its CRC")
    return frame
