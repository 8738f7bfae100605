"""The image and its compose file: what they name exists, fits the package, and their health check tells the truth."""

import importlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from mien.config import WebConfig, load_settings
from mien.outputs.web.access import check_exposure
from tests.conftest import REPOSITORY, require_program, skip
from tests.edge.mosquitto import free_port
from tests.edge.test_mqtt import wait_until

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
LINES = DOCKERFILE.replace("\\\n", " ").splitlines()


def instructions(name: str) -> list[str]:
    """Return what follows an instruction of the Dockerfile, wherever it stands."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.split(maxsplit=1)[:1] == [name]]


def environment() -> dict[str, str]:
    """Return the variables of the finished image."""
    (line,) = instructions("ENV")
    return dict(part.split("=", 1) for part in shlex.split(line))


def health_check() -> list[str]:
    (line,) = instructions("HEALTHCHECK")
    return list(json.loads(line[line.index("[") :]))


def read_yaml(path: Path) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError:
        skip("PyYAML is missing: pip install 'mien[dev]'")
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(read_yaml(REPOSITORY / "compose.yaml")["services"])


def is_ignored(path: str) -> bool:
    """Tell it as Docker does: the last pattern that fits a path, or a folder above it, decides."""
    folders = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    ignored = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and pattern[0] != "#" and any(fnmatch(f"/{folder}", f"*{pattern}") for folder in folders):
            ignored = not line.startswith("!")
    return ignored


def test_what_is_copied_into_the_image_exists_and_is_not_ignored() -> None:
    sources = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert "edge/mien" in sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert not is_ignored(source), source
    files = [path.relative_to(REPOSITORY) for path in (REPOSITORY / "edge/mien").rglob("*.tflite")]
    assert files
    assert not any(is_ignored(str(file)) for file in files)


def test_all_that_the_wheel_is_built_from_is_copied() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    needed = ["pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]]
    needed += project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = " ".join(line for line in instructions("COPY") if "--from" not in line).split()
    assert set(needed) <= set(copied)


@pytest.mark.parametrize("path", [".env", "fer2013.csv", ".git/config", "models/mien_net/model.keras", ".venv/bin/pip"])
def test_secrets_and_data_stay_out_of_the_build(path: str) -> None:
    assert is_ignored(path)


def test_the_images_python_is_one_that_mien_runs_on() -> None:
    ((name, version),) = [line.split("=") for line in instructions("ARG")]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    least = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    assert least is not None
    assert name == "PYTHON"
    assert int(least[1]) <= int(version.removeprefix("3.")) <= 13  # script/setup's newest
    assert all(image.startswith("python:${PYTHON}-slim") for image in instructions("FROM"))


def test_the_extras_that_the_image_installs_exist() -> None:
    extras = re.search(r"mien\[([a-z,]+)\]", DOCKERFILE)
    assert extras is not None
    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) == {"edge", "web", "mqtt"}
    assert set(extras[1].split(",")) <= known.keys()


def test_ports_agree_and_the_image_is_not_root() -> None:
    port = str(WebConfig.port)
    assert instructions("EXPOSE") == [port]
    assert environment()["MIEN_WEB_PORT"] == port
    (user,) = instructions("USER")
    assert int(user) > 0
    assert f"--uid {user} --groups video" in DOCKERFILE


def test_the_images_settings_are_known_and_ask_for_a_token() -> None:
    settings = load_settings(environment=environment()).config
    with pytest.raises(ValueError, match=r"MIEN_WEB_TOKEN=\.\.\."):
        check_exposure(settings.web.host, settings.web)
    with_token = load_settings(environment=environment() | {"MIEN_WEB_TOKEN": "secret"}).config
    check_exposure(with_token.web.host, with_token.web)


def run(port: int, **variables: str) -> "subprocess.Popen[bytes]":
    """Start what the image starts, with the demo in place of a camera."""
    (command,) = (json.loads(line) for line in instructions("CMD"))
    variables = environment() | {"PATH": os.environ["PATH"], "MIEN_WEB_PORT": str(port)} | variables
    flags = ["--source", "demo", "--realtime", "--threads", "1"]
    return subprocess.Popen([sys.executable, "-m", "mien", *command, *flags], env=variables, stderr=subprocess.PIPE)


@pytest.fixture
def page() -> Iterator[int]:
    """Start a run as in the image, on a free port, and return the port."""
    port = free_port()
    with run(port, MIEN_WEB_TOKEN="secret", MIEN_WEB_HOST="127.0.0.1") as process:
        assert process.stderr is not None
        assert b"web page: " in process.stderr.readline()
        yield port
        process.terminate()


def check_health(port: int) -> int:
    """Run the image's health check, where a proxy is set that does not answer."""
    variables = {"MIEN_WEB_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    program, *rest = health_check()
    assert program == "python"
    return subprocess.run([sys.executable, *rest], env=variables, capture_output=True, timeout=20).returncode


def test_the_health_check_finds_a_run_well_without_the_token_and_a_missing_one_ill(page: int) -> None:
    assert check_health(page) == 0
    assert check_health(free_port()) == 1


def test_the_image_refuses_to_show_everybody_and_says_how_to_start_it() -> None:
    begin_s = time.monotonic()
    with run(free_port()) as process:
        _, told = process.communicate(timeout=20)
    assert process.returncode == 2
    assert b"ask for a token with MIEN_WEB_TOKEN=..." in told
    assert time.monotonic() - begin_s < 20


def test_the_compose_file_names_what_exists(compose: dict[str, Any]) -> None:
    mien, broker = compose["mien"], compose["mosquitto"]
    assert (REPOSITORY / mien["build"] / "Dockerfile").is_file()
    mounted = [volume.split(":")[0] for volume in broker["volumes"] if volume.startswith("./")]
    assert mounted
    assert all((REPOSITORY / path).is_file() for path in mounted)
    volumes = read_yaml(REPOSITORY / "compose.yaml")["volumes"].keys()
    named = {volume.split(":")[0] for service in compose.values() for volume in service["volumes"]}
    assert volumes == named - set(mounted)
    assert f"data:{environment()['XDG_DATA_HOME']}/mien" in mien["volumes"]
    assert mien["environment"]["MIEN_MQTT_HOST"] in compose
    assert mien["ports"] == [f"{WebConfig.port}:{WebConfig.port}"]


def test_the_compose_files_settings_are_known(compose: dict[str, Any]) -> None:
    def filled(text: str) -> str:
        return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda match: match[1] or "secret", text)

    variables = {name: filled(value) for name, value in compose["mien"]["environment"].items()}
    _, *flags = compose["mien"]["command"]
    outputs = [output for flag, output in zip(flags[::2], flags[1::2], strict=True) if flag == "--output"]
    config = load_settings({"output": outputs}, environment=environment() | variables).config
    assert (config.source, config.output, config.mqtt.qos) == ("/dev/video0", ("web", "mqtt"), 1)
    check_exposure(config.web.host, config.web)


def test_both_containers_have_least_rights_and_come_back(compose: dict[str, Any]) -> None:
    for service in compose.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["restart"] == "unless-stopped"
        assert service["mem_limit"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    # It has no password, so only this machine and the containers of the file may reach it.
    assert compose["mosquitto"]["ports"] == ["127.0.0.1:1883:1883"]


def test_mosquitto_starts_with_the_compose_files_settings(tmp_path: Path) -> None:
    program = require_program("mosquitto", "mosquitto")
    text = (REPOSITORY / "docs/fleet/mosquitto-local.conf").read_text()
    port = free_port()
    text = text.replace("/mosquitto/data", str(tmp_path)).replace("listener 1883", f"listener {port} 127.0.0.1")
    (tmp_path / "mosquitto.conf").write_text("user root\n" + text)
    with subprocess.Popen([program, "-c", tmp_path / "mosquitto.conf"], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or is_open(port))
            assert process.poll() is None, "mosquitto refuses its settings"
        finally:
            process.terminate()
    assert (tmp_path / "mosquitto.db").exists()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
