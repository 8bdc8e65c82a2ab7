"""The bridge's MQTT client: paho's, but it reads what a broker that died had still sent."""

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion


class DrainingClient(Client):
    """paho closes the socket at the first write that fails, and throws away the messages that lie unread in it.
    Mosquitto had acknowledged those to their controllers; killed, it does not know them any more. So a failed write is
    passed over: the reads that follow give what there is, and then find the end."""

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError:
            return len(buf)


def mqtt_client(client_id: str) -> Client:
    """A client of MQTT v5 that acknowledges only when it is told to."""
    return DrainingClient(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, manual_ack=True)
