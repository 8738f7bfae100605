"""What a real broker gets: results, availability and health, also when it goes away, and what Home Assistant needs."""

import importlib
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import EMOTIONS, Box, FrameResult
from mien.config import Config, MqttConfig
from mien.faces import Face, Image
from mien.outputs.base import OutputContext
from mien.outputs.mqtt import MqttOutput
from mien.outputs.mqtt import output as mqtt
from mien.streaming import run_stream
from tests.conftest import require_program, skip
from tests.edge.mosquitto import Mosquitto, Subscriber, free_port
from tests.edge.test_outputs import make_face
from tests.edge.test_streaming import Clock, SlowRecognizer

IMAGE: Image = np.zeros((48, 64, 3), np.uint8)

ONE_BY_ONE = ["happy", "sad"]
"""Labels in turns, so that each result is a change and goes at once."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


def make_context(port: int = 1883, **settings: Any) -> OutputContext:
    """Return the context of a run whose settings of [mqtt] are these."""
    usual: dict[str, Any] = {"host": "127.0.0.1", "port": port, "device": "kitchen"}
    return OutputContext(Config(mqtt=MqttConfig(**(usual | settings))))


def write(output: MqttOutput, frame: int, *emotions: str) -> None:
    faces = [make_face(emotion, number + 1) for number, emotion in enumerate(emotions)]
    output.write(IMAGE, FrameResult(frame / 10, frame, faces))


def frames(subscriber: Subscriber) -> list[int]:
    return [result["frame"] for result in subscriber.results()]


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def wait_until(is_so: Callable[[], Any], timeout_s: float = 10) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        time.sleep(0.02)


def test_results_arrive_as_documented(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port)) as output:
        write(output, 3, "happy", "sad")
        subscriber.wait_for(lambda: subscriber.results())
        (message,) = [message for message in subscriber.messages if message.topic == "mien/kitchen/faces"]
    result = json.loads(message.payload)
    assert not message.is_retained
    assert list(result) == ["time", "frame", "faces", "device_time"]
    assert (result["time"], result["frame"]) == (0.3, 3)
    assert result["device_time"] == pytest.approx(time.time(), abs=10)
    assert [face["label"] for face in result["faces"]] == ["happy", "sad"]
    assert list(result["faces"][0]) == ["id", "box", "label", "emotion", "confidence", "probabilities"]
    assert list(result["faces"][0]["probabilities"]) == list(EMOTIONS)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_results_have_the_quality_of_service_asked_for(broker: Mosquitto, qos: int) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port, qos=qos)) as output:
        for frame in range(50):
            write(output, frame, ONE_BY_ONE[frame % 2])
        subscriber.wait_for(lambda: len(subscriber.results()) == 50)
        assert frames(subscriber) == list(range(50))
        assert {message.qos for message in subscriber.messages if message.topic.endswith("/faces")} == {qos}


def test_a_device_is_online_while_it_runs_and_offline_afterwards(broker: Mosquitto) -> None:
    for closes, expected in [(False, "online"), (True, "offline")]:
        output = MqttOutput(make_context(broker.port))
        with Subscriber(broker.port) as early:
            early.wait_for(lambda early=early: "online" in early.payloads("/availability"))  # type: ignore[misc]
            if closes:
                output.close()
            with Subscriber(broker.port) as late:
                late.wait_for(lambda late=late: late.payloads("kitchen/availability"))  # type: ignore[misc]
                assert [m[1::2] for m in late.messages if m.topic == "mien/kitchen/availability"] == [(expected, True)]
        output.close()


def test_a_device_that_is_killed_is_offline(broker: Mosquitto) -> None:
    program = (
        "import time; from mien.config import Config, MqttConfig; from mien.outputs.base import OutputContext; "
        "from mien.outputs.mqtt import MqttOutput; config = Config(mqtt=MqttConfig(device='kitchen')); "
        f"MqttOutput(OutputContext(config), '127.0.0.1:{broker.port}'); time.sleep(60)"
    )
    with Subscriber(broker.port) as subscriber, subprocess.Popen([sys.executable, "-c", program]) as device:
        subscriber.wait_for(lambda: subscriber.payloads("/availability") == ["online"], 30)
        device.kill()
        subscriber.wait_for(lambda: subscriber.payloads("/availability") == ["online", "offline"])
        with Subscriber(broker.port) as late:
            late.wait_for(lambda: late.payloads("/availability") == ["offline"])


def test_health_is_retained_and_told_when_the_state_changes(broker: Mosquitto) -> None:
    context = make_context(broker.port)
    with MqttOutput(context), Subscriber(broker.port) as subscriber:
        subscriber.wait_for(lambda: subscriber.payloads("mien/kitchen/health"))
        context.health.set_source("running")
        subscriber.wait_for(lambda: json.loads(subscriber.payloads("/health")[-1])["state"] == "running")
        context.health.set_source("waiting", "the camera is gone")
        subscriber.wait_for(lambda: json.loads(subscriber.payloads("/health")[-1])["state"] == "waiting")
        with Subscriber(broker.port) as late:
            late.wait_for(lambda: late.payloads("/health"))
            (message,) = [message for message in late.messages if message.topic == "mien/kitchen/health"]
    assert message.is_retained
    assert json.loads(message.payload).keys() == context.health.to_dict().keys()
    assert json.loads(message.payload)["problem"] == "the camera is gone"
    assert len(subscriber.payloads("/health")) <= 4  # not with each look at the state


def test_health_is_told_again_after_a_while(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mqtt.HEALTH_INTERVAL_S == 30
    monkeypatch.setattr(mqtt, "HEALTH_INTERVAL_S", 0.5)
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port)):
        subscriber.wait_for(lambda: len(subscriber.payloads("/health")) >= 3)


def test_rates_are_told_as_soon_as_they_are_known(broker: Mosquitto) -> None:
    context = make_context(broker.port)
    with Subscriber(broker.port) as subscriber, MqttOutput(context):
        context.health.set_source("running")
        subscriber.wait_for(lambda: subscriber.payloads("/health"))
        deadline_s = time.monotonic() + 5
        while json.loads(subscriber.payloads("/health")[-1])["frames_per_s"] < 5:
            assert time.monotonic() < deadline_s
            context.health.add_result(0.02)
            time.sleep(0.05)


def test_after_a_run_its_last_health_stays(broker: Mosquitto) -> None:
    context = make_context(broker.port)
    run_stream(Clock(50, 0.01, is_live=False), SlowRecognizer(0), {"mqtt": MqttOutput(context)}, context.health)
    with Subscriber(broker.port) as late:
        late.wait_for(lambda: late.payloads("kitchen/health"))
        last = json.loads(late.payloads("kitchen/health")[-1])
    assert (last["state"], last["recognized"]) == ("stopped", 50)
    assert last["frames_per_s"] > 0


def test_frames_without_change_wait_for_the_interval_and_changes_do_not(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port, interval_s=0.4)) as output:
        begin_s = time.monotonic()
        for frame in range(60):
            write(output, frame, "happy")
            time.sleep(0.02)
        most = 1 + (time.monotonic() - begin_s) / 0.4
        write(output, 100, "sad")
        write(output, 101, "sad")
        write(output, 102, "sad", "happy")
        write(output, 103)
        subscriber.wait_for(lambda: 103 in frames(subscriber))
        sent = frames(subscriber)
        assert sent[0] == 0
        assert sent[-3:] == [100, 102, 103]
        assert 3 <= len(sent) - 3 <= most
        assert output.dropped == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_lost_when_the_broker_restarts_in_mid_stream(broker: Mosquitto, qos: int) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port, qos=qos)) as output:
        is_over = threading.Event()

        def feed() -> None:
            for frame in range(250):
                write(output, frame, ONE_BY_ONE[frame % 2])
                time.sleep(0.008)
            is_over.set()

        threading.Thread(target=feed).start()
        subscriber.wait_for(lambda: len(subscriber.results()) > 20)
        broker.stop()
        time.sleep(0.3)
        broker.start()
        assert is_over.wait(10)
        subscriber.wait_for(lambda: 249 in frames(subscriber), 15)
        # Quality of service 1 is "at least once": what the broker had not confirmed comes twice.
        assert list(dict.fromkeys(frames(subscriber))) == list(range(250))
        assert len(frames(subscriber)) <= 250 + 25
        assert output.dropped == 0
        assert subscriber.payloads("/availability")[-1] == "online"


def test_a_broker_that_starts_later_is_found(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Subscriber(broker.port) as subscriber:
        broker.stop()
        with MqttOutput(make_context(broker.port)) as output:
            write(output, 0, "happy")
            wait_until(lambda: lines(caplog, logging.WARNING))
            broker.start()
            subscriber.wait_for(lambda: frames(subscriber) == [0])
    name = f"MQTT broker 127.0.0.1:{broker.port}"
    problem = f"{name}: Connection refused; trying again, up to 1000 results wait"
    assert lines(caplog, logging.WARNING) == [problem]
    assert lines(caplog, logging.INFO) == [f"{name}: connected"]


def run_demo(broker: Mosquitto) -> subprocess.Popen[str]:
    """Start a run of ten seconds whose results go to the broker."""
    command = [sys.executable, "-m", "mien", "run", "--source", "demo", "--realtime"]
    command += ["--output", f"mqtt:127.0.0.1:{broker.port}"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_who_runs_it_sees_that_the_broker_is_away_and_that_it_is_there(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber:
        broker.stop()
        run = run_demo(broker)
        assert run.stderr is not None
        first = run.stderr.readline()
        broker.start()
        subscriber.wait_for(subscriber.results)
        run.terminate()
        _, rest = run.communicate(timeout=20)
    name = f"MQTT broker 127.0.0.1:{broker.port}"
    assert first == f"warning: {name}: Connection refused; trying again, up to 1000 results wait\n"
    assert rest == f"{name}: connected\n"


def test_a_run_without_trouble_tells_nothing(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber:
        run = run_demo(broker)
        subscriber.wait_for(subscriber.results, 20)
        run.terminate()
        _, complaints = run.communicate(timeout=20)
    assert (run.returncode, complaints) == (0, "")


def test_results_that_are_lost_are_in_the_runs_health(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Changing(SlowRecognizer):
        def recognize(self, *_: Any) -> list[Face]:
            super().recognize(*_)
            told.append(context.health.outputs["mqtt"].dropped)
            return [make_face(ONE_BY_ONE[len(told) % 2])]

    monkeypatch.setattr(mqtt, "BUFFER_SIZE", 10)
    context, told = make_context(free_port()), list[int]()
    run_stream(Clock(50, 0.02, is_live=False), Changing(0), {"mqtt": MqttOutput(context)}, context.health)
    assert 20 <= told[-1] <= 40  # while it runs
    assert context.health.outputs["mqtt"].dropped == 50  # and with the ten that waited
    assert lines(caplog, logging.WARNING)[-1].endswith("results not sent: 50")


@pytest.mark.parametrize("qos", [0, 1])
def test_while_the_broker_is_away_the_newest_thousand_results_wait(broker: Mosquitto, qos: int) -> None:
    with Subscriber(broker.port) as subscriber:
        broker.stop()
        with MqttOutput(make_context(broker.port, qos=qos)) as output:
            for frame in range(1500):
                write(output, frame, ONE_BY_ONE[frame % 2])
            assert output.dropped == 500
            broker.start()
            subscriber.wait_for(lambda: 1499 in frames(subscriber), 20)
            assert frames(subscriber) == list(range(500, 1500))
        assert output.dropped == 500


@pytest.mark.parametrize("qos", [1, 2])
def test_while_the_broker_hangs_no_more_results_wait_and_their_order_stays(broker: Mosquitto, qos: int) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port, qos=qos)) as output:
        subscriber.wait_for(lambda: subscriber.payloads("/health"))
        broker.pause()
        write(output, 0, "neutral")
        time.sleep(0.2)  # until it is on its way
        for frame in range(1, 1501):
            write(output, frame, ONE_BY_ONE[frame % 2])
        assert output.dropped == 500
        broker.resume()
        subscriber.wait_for(lambda: 1500 in frames(subscriber), 20)
        assert frames(subscriber) == [0, *range(501, 1501)]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_broker_that_hangs_and_then_dies_is_found_again(broker: Mosquitto, qos: int) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port, qos=qos)) as output:
        subscriber.wait_for(lambda: subscriber.payloads("/health"))
        broker.save()
        broker.pause()
        frame, dropped = 0, 0
        while output.dropped != dropped + 1:  # until nothing leaves, not even into the system's own buffers
            for _ in range(250):
                frame += 1
                output.write(IMAGE, FrameResult(0, frame, [make_face(ONE_BY_ONE[frame % 2])], "long" * 2000))
            assert frame < 20_000
            dropped = output.dropped
            time.sleep(0.2)
            frame += 1
            write(output, frame, ONE_BY_ONE[frame % 2])
        broker.kill()
        broker.start()
        subscriber.wait_for(lambda: frame in frames(subscriber), 20)
        assert list(dict.fromkeys(frames(subscriber)))[-1000:] == list(range(frame - 999, frame + 1))


def test_a_broker_that_hangs_up_is_not_hammered(caplog: pytest.LogCaptureFixture) -> None:
    attempts_s = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        with MqttOutput(make_context(server.getsockname()[1])):
            for _ in range(3):
                server.accept()[0].close()
                attempts_s.append(time.monotonic())
            wait_until(lambda: lines(caplog, logging.WARNING))
    pauses_s = np.diff(attempts_s)
    assert pauses_s[0] > 0.9
    assert pauses_s[1] > 1.9
    assert len(lines(caplog, logging.WARNING)) == 1


def test_a_login_is_refused_clearly_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    users = write_users(tmp_path / "users", mien="secret", test="other")
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(tmp_path, "allow_anonymous false", f"password_file {users}"))
        subscriber = stack.enter_context(Subscriber(broker.port, ("test", "other")))
        output = stack.enter_context(MqttOutput(make_context(broker.port, username="mien", password="guessed")))
        write(output, 0, "happy")
        wait_until(lambda: lines(caplog, logging.WARNING))
        (line,) = lines(caplog, logging.WARNING)
        assert "refuses user 'mien' (Not authorized): check username and password of [mqtt]" in line
        assert "guessed" not in line
        broker.stop()
        write_users(users, mien="guessed", test="other")
        broker.start()
        subscriber.wait_for(lambda: frames(subscriber) == [0], 20)
        assert lines(caplog, logging.INFO) == [f"MQTT broker 127.0.0.1:{broker.port}: connected"]


@pytest.mark.parametrize("from_file", [False, True])
def test_a_password_comes_from_the_setting_or_else_the_files_first_line(tmp_path: Path, from_file: bool) -> None:
    users = write_users(tmp_path / "users", mien="se cret")
    secret = tmp_path / "secret"
    secret.write_text("se cret\nanother line\n" if from_file else "wrong\n")
    password = "" if from_file else "se cret"
    with (
        Mosquitto(tmp_path, "allow_anonymous false", f"password_file {users}") as broker,
        Subscriber(broker.port, ("mien", "se cret")) as subscriber,
        MqttOutput(make_context(broker.port, username="mien", password=password, password_file=str(secret))),
    ):
        subscriber.wait_for(lambda: subscriber.payloads("/availability") == ["online"])


def write_users(file: Path, **passwords: str) -> Path:
    """Write users and their passwords as mosquitto wants them."""
    program = require_program("mosquitto_passwd", "mosquitto")
    file.write_text("")
    for user, password in passwords.items():
        subprocess.run([program, "-b", file, user, password], check=True)
    return file


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ca.crt, another authority's other.crt, and a broker's server.crt and server.key."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(command: str) -> None:
        program = require_program("openssl", "openssl")
        subprocess.run([program, *command.split()], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl(f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt")
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    signing = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names"
    openssl(f"{signing} -out server.crt")
    return folder


@pytest.fixture
def safe_broker(tmp_path: Path, authority: Path) -> Iterator[Mosquitto]:
    """Start a broker that talks TLS only."""
    files = (f"certfile {authority / 'server.crt'}", f"keyfile {authority / 'server.key'}")
    with Mosquitto(tmp_path, "allow_anonymous true", *files) as broker:
        yield broker


@pytest.mark.parametrize("comment", ["", "# Müller".encode(), "# Müller".encode("latin-1")])
def test_a_broker_with_tls_is_trusted_by_its_authority(
    safe_broker: Mosquitto, authority: Path, tmp_path: Path, comment: bytes | str
) -> None:
    ca_file = authority / "ca.crt"
    if isinstance(comment, bytes):
        ca_file = tmp_path / "für mich.crt"
        ca_file.write_bytes(comment + b"\n" + (authority / "ca.crt").read_bytes())
    context = make_context(safe_broker.port, host="localhost", tls=True, ca_file=str(ca_file))
    with Subscriber(safe_broker.port, ca_file=ca_file) as subscriber, MqttOutput(context) as output:
        write(output, 0, "happy")
        subscriber.wait_for(lambda: frames(subscriber) == [0])


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"tls": True, "ca_file": "other.crt"}, "certificate verify failed"),
        ({"tls": True, "ca_file": ""}, "certificate verify failed"),
        ({"tls": True, "ca_file": "ca.crt", "host": "127.0.0.1"}, "IP address mismatch"),
        ({}, r"no answer; if it wants TLS, set tls = true in \[mqtt\]"),
    ],
)
def test_another_broker_or_none_with_tls_gets_nothing(
    safe_broker: Mosquitto,
    authority: Path,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    problem: str,
) -> None:
    caplog.set_level(logging.INFO)
    if settings.get("ca_file"):
        settings = settings | {"ca_file": str(authority / settings["ca_file"])}
    with MqttOutput(make_context(safe_broker.port, **{"host": "localhost"} | settings)):
        wait_until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search(problem, record.getMessage())


def test_home_assistant_gets_sensors_whose_topics_exist(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port)) as output:
        write(output, 0, "happy")
        subscriber.wait_for(subscriber.results)
        configs = discovered(subscriber)
        published = {message.topic for message in subscriber.messages}
        with Subscriber(broker.port) as late:
            late.wait_for(lambda: len(discovered(late)) == 4)
            assert all(message.is_retained for message in late.messages if message.topic.endswith("/config"))
    prefix = "homeassistant/sensor/mien_kitchen"
    assert list(configs) == [f"{prefix}/{name}/config" for name in ("emotion", "faces", "frame_rate", "slowed")]
    for config in configs.values():
        topics = {value for key, value in config.items() if key.endswith("_topic")}
        assert topics <= published
        assert config["availability_topic"] == "mien/kitchen/availability"
        assert config["device"] == next(iter(configs.values()))["device"]
        assert config["device"]["identifiers"] == ["mien_kitchen"]
        assert config["origin"]["name"] == "mien"
    assert len({config["unique_id"] for config in configs.values()}) == 4
    emotion, _, frame_rate, slowed = configs.values()
    assert emotion["options"] == [*EMOTIONS, "unsure", "none"]
    assert frame_rate["entity_category"] == slowed["entity_category"] == "diagnostic"


def discovered(subscriber: Subscriber) -> dict[str, dict[str, Any]]:
    """Return what Home Assistant would read of the sensors."""
    return {m.topic: json.loads(m.payload) for m in subscriber.messages if m.topic.startswith("homeassistant/sensor/")}


def test_home_assistants_templates_find_their_values(broker: Mosquitto) -> None:
    try:
        jinja2 = importlib.import_module("jinja2")  # what Home Assistant's templates are
    except ModuleNotFoundError:
        skip("jinja2 is missing: pip install 'mien[dev]'")
    context = make_context(broker.port)
    context.health.add_result(0.02)
    with Subscriber(broker.port) as subscriber, MqttOutput(context) as output:
        write(output, 0, "sad", "happy")
        write(output, 1)
        subscriber.wait_for(lambda: len(subscriber.results()) == 2)
        context.health.set_slowed(2, "under-voltage")
        subscriber.wait_for(lambda: json.loads(subscriber.payloads("/health")[-1])["slowed"])  # at once
    emotion, faces, frame_rate, slowed = discovered(subscriber).values()

    def value(config: dict[str, Any], kind: str, index: int) -> str:
        template = jinja2.Environment().from_string(config[f"{kind}_template"])
        topic = config["json_attributes_topic" if kind == "json_attributes" else "state_topic"]
        return str(template.render(value_json=json.loads(subscriber.payloads(topic)[index])))

    assert [value(emotion, "value", index) for index in (0, 1)] == ["sad", "none"]
    assert [value(faces, "value", index) for index in (0, 1)] == ["2", "0"]
    details = json.loads(value(emotion, "json_attributes", 0))
    assert details["confidence"] == 0.7
    assert sorted(details["probabilities"]) == sorted(EMOTIONS)
    assert json.loads(value(emotion, "json_attributes", 1)) == {}
    assert float(value(frame_rate, "value", 0)) > 0
    at_first, *_, told = range(len(subscriber.payloads("/health")))
    assert [value(slowed, "value", index) for index in (at_first, told)] == ["nothing", "under-voltage"]


def test_home_assistant_is_told_again_when_it_starts(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port)):
        subscriber.wait_for(lambda: subscriber.payloads("/health"))
        assert len(subscriber.payloads("/emotion/config")) == 1
        subscriber.publish("homeassistant/status", "offline")
        subscriber.publish("homeassistant/status", "online")
        subscriber.wait_for(lambda: len(subscriber.payloads("/frame_rate/config")) == 2)
        assert len(subscriber.payloads("/emotion/config")) == 2


def test_without_a_prefix_there_is_no_discovery(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port, discovery="")) as output:
        write(output, 0, "happy")
        subscriber.wait_for(subscriber.results)
        assert {message.topic.rpartition("/")[0] for message in subscriber.messages} == {"mien/kitchen"}


def test_a_device_without_a_name_has_its_hosts(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "living.room/+#1")
    context = make_context(broker.port, device="", topic="home/mien")
    with Subscriber(broker.port) as subscriber, MqttOutput(context):
        subscriber.wait_for(lambda: subscriber.payloads("home/mien/living_room_1/health"))


def test_closing_sends_what_waits(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber:
        with MqttOutput(make_context(broker.port, qos=1)) as output:
            subscriber.wait_for(lambda: subscriber.payloads("/health"))
            for frame in range(20):
                write(output, frame, ONE_BY_ONE[frame % 2])
        subscriber.wait_for(lambda: subscriber.payloads("/availability") == ["online", "offline"])
        assert frames(subscriber) == list(range(20))
        assert subscriber.messages[-1].payload == "offline"
        assert output.dropped == 0


def test_a_run_of_a_single_frame_is_not_too_short(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber:
        with MqttOutput(make_context(broker.port)) as output:
            write(output, 0, "happy")
        subscriber.wait_for(lambda: subscriber.payloads("/availability") == ["online", "offline"])
        assert frames(subscriber) == [0]


@pytest.mark.parametrize("kind", ["nobody", "silent", "unreachable"])
def test_closing_without_a_broker_takes_no_second(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        port = free_port()
        if kind != "nobody":  # someone listens, but accepts nothing
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            port = server.getsockname()[1]
        if kind == "unreachable":  # the system does not even answer when its queue is full
            for _ in range(3):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
        output = MqttOutput(make_context(port))
        write(output, 0, "happy")
        time.sleep(0.3)
        begin_s = time.monotonic()
        output.close()
        assert time.monotonic() - begin_s < 1
    assert output.dropped == 1
    assert lines(caplog, logging.WARNING)[-1] == f"MQTT broker 127.0.0.1:{port}: results not sent: 1"


@pytest.mark.parametrize("qos", [0, 1])
def test_closing_with_a_broker_that_hangs_takes_no_second(broker: Mosquitto, qos: int) -> None:
    with Subscriber(broker.port) as subscriber:
        output = MqttOutput(make_context(broker.port, qos=qos))
        subscriber.wait_for(lambda: subscriber.payloads("/health"))
        broker.pause()
        for frame in range(100):
            write(output, frame, ONE_BY_ONE[frame % 2])
        begin_s = time.monotonic()
        output.close()
        assert time.monotonic() - begin_s < 1
        assert output.dropped == (100 if qos else 0)  # none was confirmed; with 0, being on its way is all there is
        broker.resume()
        subscriber.wait_for(lambda: subscriber.payloads("/availability")[-1] == "offline")


def test_an_output_that_is_closed_leaves_no_thread_behind(broker: Mosquitto) -> None:
    with Subscriber(broker.port) as subscriber:
        before = set(threading.enumerate())
        with MqttOutput(make_context(broker.port)):
            subscriber.wait_for(lambda: subscriber.payloads("/health"))
        assert set(threading.enumerate()) <= before
        MqttOutput(make_context(free_port())).close()
        wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_message_is_small_and_has_no_picture(broker: Mosquitto) -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    faces = [make_face(EMOTIONS[index % 7], 100_000 + index, Box(600, 400, 40, 40)) for index in range(8)]
    with Subscriber(broker.port) as subscriber, MqttOutput(make_context(broker.port)) as output:
        output.write(image, FrameResult(1.7e9, 10**7, faces, "holiday.jpg"))
        subscriber.wait_for(subscriber.results)
    (payload,) = subscriber.payloads("/faces")
    assert len(json.loads(payload)["faces"]) == 8
    assert len(payload) < 4096  # 8 faces of some 300 characters


@pytest.mark.parametrize(
    ("host_port", "settings", "address"),
    [
        ("", {"port": 0}, "127.0.0.1:1883"),
        ("", {"port": 0, "tls": True}, "127.0.0.1:8883"),
        ("", {"port": 11}, "127.0.0.1:11"),
        ("localhost", {"port": 11}, "localhost:11"),
        ("localhost:12", {"port": 11}, "localhost:12"),
        ("[::1]", {"port": 11}, "::1:11"),
        ("[::1]:12", {"port": 11}, "::1:12"),
    ],
)
def test_a_broker_can_be_named_with_the_output(
    host_port: str, settings: dict[str, Any], address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with MqttOutput(make_context(**settings), host_port):
        wait_until(lambda: caplog.records)  # it does not answer
    assert f"MQTT broker {address}: " in caplog.text


@pytest.mark.parametrize("host_port", [":1883", "host:", "host:x", "host:0", "host:65536", "1883", "::1", "a b:c:d"])
def test_an_output_that_names_no_broker_lists_what_is_allowed(host_port: str) -> None:
    with pytest.raises(ValueError, match=r"^output 'mqtt:.*': allowed are mqtt, mqtt:HOST, mqtt:HOST:PORT"):
        MqttOutput(make_context(1883), host_port)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"host": ""}, "mqtt.host is ''"),
        ({"host": "broker..local"}, r"mqtt.host is 'broker\.\.local'"),
        ({"device": "kitchen/left"}, "mqtt.device is 'kitchen/left': allowed are letters"),
        ({"topic": "mien/#"}, "mqtt.topic is 'mien/#': allowed is a topic"),
        ({"topic": ""}, "mqtt.topic is ''"),
        ({"topic": "/mien"}, "mqtt.topic is '/mien'"),
        ({"discovery": "homeassistant/"}, "mqtt.discovery is 'homeassistant/'"),
        ({"password": "secret"}, "mqtt.password without mqtt.username"),
        ({"ca_file": "ca.crt"}, "mqtt.ca_file is 'ca.crt' but mqtt.tls is off"),
        ({"tls": True, "ca_file": __file__}, r"test_mqtt\.py has no certificate; allowed is PEM"),
        ({"tls": True, "ca_file": "/dev/null"}, "/dev/null has no certificate"),
        ({"username": "mien", "password_file": "/dev/null"}, "the first line of /dev/null is empty"),
    ],
)
def test_a_bad_setting_is_named_when_the_output_is_opened(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        MqttOutput(make_context(**settings))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"tls": True, "ca_file": "/nowhere"}, {"username": "mien", "password_file": "/nowhere"}]
)
def test_a_file_that_is_not_there_is_named_when_the_output_is_opened(settings: dict[str, Any]) -> None:
    with pytest.raises(FileNotFoundError, match=r"mqtt\.(ca|password)_file: cannot read /nowhere \(No such file"):
        MqttOutput(make_context(**settings))


@pytest.mark.parametrize(
    ("host", "tls", "is_warned"),
    [("127.0.0.1", False, False), ("localhost", False, False), ("192.0.2.1", False, True), ("192.0.2.1", True, False)],
)
def test_a_password_in_the_clear_is_warned_of(
    host: str, tls: bool, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    MqttOutput(make_context(free_port(), host=host, tls=tls, username="mien", password="secret")).close()
    expected = f"MQTT broker {host}: the password goes there unencrypted; set tls = true in [mqtt]"
    assert (expected in lines(caplog, logging.WARNING)) == is_warned
    assert "secret" not in caplog.text


def test_a_missing_paho_is_told_when_the_output_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ImportError, match=r"--output mqtt needs paho-mqtt .*pip install 'mien\[mqtt\]'"):
        MqttOutput(make_context())
