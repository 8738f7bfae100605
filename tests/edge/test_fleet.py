"""What docs/fleet.md hands out works: the dashboard's metrics exist, Prometheus and Mosquitto accept their files."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mien.health import Health, OutputHealth
from mien.outputs.mqtt import MqttOutput
from mien.outputs.web.metrics import metrics_text
from tests.conftest import REPOSITORY, require_program
from tests.edge.mosquitto import Mosquitto, Subscriber
from tests.edge.test_mqtt import authority, make_context, wait_until, write, write_users  # noqa: F401

FLEET = REPOSITORY / "docs/fleet"
DASHBOARD: dict[str, Any] = json.loads((FLEET / "grafana-dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def known_metrics() -> set[str]:
    """Return the names that a run's /metrics has."""
    text = metrics_text(Health(outputs={"mqtt": OutputHealth()}), [], 50.0)
    return set(re.findall(r"^(mien_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("text", [*EXPRESSIONS, (FLEET / "mien-rules.yml").read_text()])
def test_each_metric_of_the_dashboard_and_the_alerts_exists(text: str) -> None:
    used = set(re.findall(r"\bmien_\w+", text))
    assert used or "up{" in text
    assert used <= known_metrics()


def test_the_dashboard_shows_what_a_fleet_needs() -> None:
    text = " ".join(EXPRESSIONS)
    for metric in ("up", "mien_frames_per_second", "mien_temperature_celsius", "mien_slowed_level",
                   "mien_faces_by_label", "mien_output_dropped_total"):  # fmt: skip
        assert f"{metric}{{" in text
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "device"}


def test_the_dashboards_panels_have_ids_sources_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"] and panel["description"] and panel["targets"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken
        taken |= cells


def test_prometheus_accepts_its_files_and_the_dashboards_queries(tmp_path: Path) -> None:
    promtool = require_program("promtool", "prometheus")
    folder = tmp_path / "prometheus"
    shutil.copytree(FLEET, folder)
    (folder / "mien_token").write_text("secret")
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    (folder / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    for command in (["config", folder / "prometheus.yml"], ["rules", folder / "panels.yml"]):
        checked = subprocess.run([promtool, "check", *map(str, command)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_device_may_speak_for_itself_alone(tmp_path: Path) -> None:
    passwords = write_users(tmp_path / "passwords", kitchen="a", reader="b")
    rights = ("allow_anonymous false", f"password_file {passwords}", f"acl_file {FLEET / 'acl'}")
    with Mosquitto(tmp_path, *rights) as broker, Subscriber(broker.port, ("reader", "b")) as subscriber:
        for device in ("hall", "kitchen"):
            login = {"device": device, "username": "kitchen", "password": "a", "discovery": "", "qos": 1}
            with MqttOutput(make_context(broker.port, **login)) as output:
                write(output, 0, "happy")
        subscriber.wait_for(lambda: subscriber.payloads("kitchen/availability") == ["online", "offline"])
    assert {message.topic.split("/")[1] for message in subscriber.messages} == {"kitchen"}
    assert len(subscriber.results()) == 1


def test_mosquitto_accepts_the_fleets_settings(tmp_path: Path, authority: Path) -> None:  # noqa: F811
    write_users(tmp_path / "passwords", kitchen="a")
    shutil.copy(FLEET / "acl", tmp_path)
    text = re.sub(r"^listener .*", "", (FLEET / "mosquitto.conf").read_text(), flags=re.MULTILINE)
    text = text.replace("/etc/mosquitto/certs", str(authority)).replace("/etc/mosquitto", str(tmp_path))
    settings = [line for line in text.splitlines() if line and not line.startswith(("#", "max_queued_messages"))]
    with Mosquitto(tmp_path, *settings) as broker:
        login = {
            "tls": True,
            "ca_file": str(authority / "ca.crt"),
            "username": "kitchen",
            "password": "a",
            "discovery": "",
        }
        with MqttOutput(make_context(broker.port, host="localhost", **login)) as output:
            wait_until(lambda: output._broker.is_connected)
            assert broker.process is not None
            assert broker.process.poll() is None
