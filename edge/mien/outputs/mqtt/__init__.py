"""Results, availability and health for an MQTT broker; Home Assistant finds the device by itself.

    mien run --output mqtt:broker.local

docs/mqtt.md says which topics there are and what is in them. `output.py` decides what is sent, `broker.py` keeps the
connection, `client.py` knows login and TLS.
"""

from mien.outputs.mqtt.output import MqttOutput

__all__ = ["MqttOutput"]
