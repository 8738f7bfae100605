"""What tells Home Assistant about the device, so that its sensors appear by themselves."""

import math
from typing import Any

from mien import __version__
from mien.emotions import EMOTIONS, UNSURE


def discovery_messages(prefix: str, topic: str, device: str, interval_s: float) -> dict[str, dict[str, Any]]:
    """Return what tells Home Assistant about this device, by topic.

    The form is that of https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: one message a sensor, which
    all share the device.

    Args:
        prefix: of Home Assistant's discovery, usually "homeassistant".
        topic: of this device, without the last part.
        device: its name, of letters, digits, "-" and "_".
        interval_s: seconds between two results at least.
    """
    identifier = f"mien_{device}"
    shared = {
        "availability_topic": f"{topic}/availability",
        "device": {"identifiers": [identifier], "name": f"mien {device}", "model": "mien", "sw_version": __version__},
        "origin": {"name": "mien", "sw_version": __version__},
    }
    return {
        f"{prefix}/sensor/{identifier}/{key}/config": {"unique_id": f"{identifier}_{key}"} | sensor | shared
        for key, sensor in (_face_sensors(topic, interval_s) | _diagnostic_sensors(topic)).items()
    }


def _face_sensors(topic: str, interval_s: float) -> dict[str, dict[str, Any]]:
    largest = "value_json.faces[0]"
    details = f"{{'confidence': {largest}.confidence, 'probabilities': {largest}.probabilities}}"
    # The camera may be lost while the device is online: a face of long ago is not to be shown as one of now.
    expiry = {"expire_after": 30 + 2 * math.ceil(interval_s)}
    return {
        "emotion": expiry
        | {
            "name": "Emotion",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": [*EMOTIONS, UNSURE, "none"],
            "state_topic": f"{topic}/faces",
            "value_template": f"{{{{ {largest}.label if value_json.faces else 'none' }}}}",
            "json_attributes_topic": f"{topic}/faces",
            "json_attributes_template": f"{{{{ ({details} if value_json.faces else {{}}) | tojson }}}}",
        },
        "faces": expiry
        | {
            "name": "Faces",
            "icon": "mdi:account-multiple",
            "state_class": "measurement",
            "state_topic": f"{topic}/faces",
            "value_template": "{{ value_json.faces | count }}",
        },
    }


def _diagnostic_sensors(topic: str) -> dict[str, dict[str, Any]]:
    return {
        "frame_rate": {
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "entity_category": "diagnostic",
            "state_class": "measurement",
            "unit_of_measurement": "frames/s",
            "state_topic": f"{topic}/health",
            "value_template": "{{ value_json.frames_per_s }}",
        },
        "slowed": {
            "name": "Slowed by",
            "icon": "mdi:thermometer-alert",
            "entity_category": "diagnostic",
            "state_topic": f"{topic}/health",
            "value_template": "{{ value_json.slowed or 'nothing' }}",
        },
    }
