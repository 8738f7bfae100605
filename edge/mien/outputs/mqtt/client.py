"""A client of paho-mqtt that knows its login and whom to trust."""

import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from mien.config import MqttConfig
from mien.outputs.hosts import is_loopback

if TYPE_CHECKING:
    from paho.mqtt.client import Client

logger = logging.getLogger(__name__)


def make_client(config: MqttConfig, client_id: str, host: str) -> "Client":
    """Return a client that knows its login and what to trust, but nothing of where to connect.

    Raises:
        ImportError: paho-mqtt is missing.
        OSError: a file that a setting names cannot be read.
        ValueError: a setting is not allowed; the message names it.
    """
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:  # of an old paho, as Debian's, too
        raise ImportError("--output mqtt needs paho-mqtt 2.1 or newer: pip install 'mien[mqtt]'") from error
    client = Client(CallbackAPIVersion.VERSION2, client_id)
    password = config.password or _first_line(config.password_file)
    if password and not config.username:
        raise ValueError("mqtt.password without mqtt.username: MQTT allows no such login, give the user's name too")
    if config.username:
        client.username_pw_set(config.username, password or None)
    if config.tls:
        client.tls_set_context(_tls_context(config.ca_file))
    elif config.ca_file:
        raise ValueError(f"mqtt.ca_file is {config.ca_file!r} but mqtt.tls is off: set tls = true, or no ca_file")
    elif password and not is_loopback(host):
        logger.warning("MQTT broker %s: the password goes there unencrypted; set tls = true in [mqtt]", host)
    return client


def _tls_context(ca_file: str) -> ssl.SSLContext:
    # Not `create_default_context`: from Python 3.13 on that is too strict for what people sign at home.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not ca_file:
        context.load_default_certs()
        return context
    try:
        # By its name: between the certificates there may be comments in any encoding.
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise ValueError(f"mqtt.ca_file: {ca_file} has no certificate; allowed is PEM (BEGIN CERTIFICATE)") from error
    except OSError as error:
        raise _cannot_read("ca_file", ca_file, error) from error
    return context


def _first_line(password_file: str) -> str:
    if not password_file:
        return ""
    try:
        password = Path(password_file).read_text(encoding="utf-8").partition("\n")[0]
    except OSError as error:
        raise _cannot_read("password_file", password_file, error) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"mqtt.password_file: {password_file} is not UTF-8 text") from error
    if not password:
        raise ValueError(f"mqtt.password_file: the first line of {password_file} is empty; write the password there")
    return password


def _cannot_read(setting: str, path: str, error: OSError) -> OSError:
    return type(error)(f"mqtt.{setting}: cannot read {path} ({error.strerror})")
