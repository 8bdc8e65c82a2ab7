"""Parse: a record of raw-iot-data to the frame it carries. Pure; the shape is models.messages.RawMessage."""

from typing import NamedTuple

from faces2.models.clock import parse_timestamp
from faces2.models.dead_letter import Reason, RejectedError
from faces2.models.frame import FrameError, crc_holds, parse_hex
from faces2.models.messages import parse_json
from faces2.models.topic import SENSOR_MODE

OTHER_MODES = frozenset({"access-control-mode", "alarm-mode"})


class Message(NamedTuple):
    """What a sensor's message says, its timestamp and data as they were sent."""

    mac: str
    connector: str
    component: str
    timestamp: object
    data: object


class RawFrame(NamedTuple):
    """A sensor frame and where it came from; `micros` is the controller's time since 1970."""

    mac: str
    connector: str
    component: str
    micros: int
    frame: bytes


def parse_record(value: bytes | None, check_crc: bool = False) -> RawFrame | str:
    """The frame of a record, or the mode of a message that carries none; RejectedError says why it is neither."""
    message = parse_message(value)
    if isinstance(message, str):
        return message
    micros = parse_time(message.timestamp)
    return RawFrame(message.mac, message.connector, message.component, micros, parse_frame(message.data, check_crc))


def parse_message(value: bytes | None) -> Message | str:
    """The message of a record, or its mode where that is one without frames; RejectedError says why it is neither."""
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
    return Message(mac, connector, component, timestamp, data)


def arrival(value: bytes | None) -> int | None:
    """When a record that `parse_record` took arrived at the bridge, None where it does not say.

    Few frames are asked for it, so it is read apart from the frame."""
    try:
        return parse_timestamp(parse_json(value).get("timestamp"))
    except ValueError:
        return None


def parse_time(timestamp: object) -> int:
    """Microseconds since 1970; RejectedError says why the time can not be read."""
    try:
        return parse_timestamp(timestamp)
    except ValueError as error:
        raise RejectedError(Reason.BAD_TIMESTAMP, str(error)) from None


def parse_frame(data: object, check_crc: bool) -> bytes:
    """The frame's bytes; RejectedError says why there are none."""
    try:
        frame = parse_hex(data)
    except FrameError as error:
        raise RejectedError(Reason.BAD_HEX, str(error)) from None
    if check_crc and not crc_holds(frame):
        raise RejectedError(Reason.BAD_CRC, f"the last two bytes of {frame.hex()[:64]} are not its CRC")
    return frame
