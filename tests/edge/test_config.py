"""Settings come from defaults, a file, the environment and flags, in this order; a mistake names its key."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mien
from mien.cli import main
from mien.config import Config, load_settings, to_toml


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "mien.toml"
    file.write_text('max_faces = 2\nthreads = 3\nsmoothing_s = 1\noutput = ["jsonl", "web"]\n[web]\nport = 9000\n')
    environment = {"MIEN_THREADS": "4", "MIEN_SMOOTHING_S": "0.25", "MIEN_WEB_NO_AUTH": "true", "OTHER": "x"}
    settings = load_settings({"smoothing_s": "2.5"}, file, environment)
    config = settings.config
    assert (config.max_faces, config.threads, config.smoothing_s) == (2, 4, 2.5)
    assert config.output == ("jsonl", "web")
    assert (config.web.port, config.web.no_auth, config.web.host) == (9000, True, "127.0.0.1")
    assert settings.origins["max_faces"] == str(file)
    assert settings.origins["threads"] == "MIEN_THREADS"
    assert settings.origins["smoothing_s"] == "--smoothing-s"
    assert settings.origins["web.host"] == "default"


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mien.toml"
    file.write_text("mirror = true")
    assert load_settings(environment={"MIEN_CONFIG": str(file)}).config.mirror


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    settings = load_settings({"size": "320x240", "output": ["a.jsonl", 'with "quotes".csv'], "web.port": "0"}, None, {})
    file = tmp_path / "shown.toml"
    file.write_text(to_toml(settings))
    assert load_settings(path=file, environment={}).config == settings.config
    assert load_settings({}, None, {}).config == Config()


def test_what_is_shown_with_secrets_can_be_read_again_without_them(tmp_path: Path) -> None:
    secrets = {"MIEN_MQTT_PASSWORD": "open sesame", "MIEN_WEB_TOKEN": "xyzzy", "MIEN_SOURCE": "rtsp://me:12345@door/1"}
    file = tmp_path / "shown.toml"
    file.write_text(to_toml(load_settings({"threads": "3"}, environment=secrets)))
    assert load_settings(path=file, environment={}).config == Config(threads=3)
    assert load_settings(path=file, environment=secrets).config.web.token == "xyzzy"


@pytest.mark.parametrize(
    "content", ['[web]\ntoken = "***"', '[mqtt]\npassword = "***"', 'source = "rtsp://***@door/1?key=***"']
)
def test_the_stars_that_stand_for_a_secret_are_no_secret(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mien.toml"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"mien\.toml\) holds \*\*\*, which stands for a secret: give the secret"):
        load_settings(path=file, environment={})


def test_a_switch_of_the_file_is_undone_by_a_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mien.toml"
    file.write_text("mirror = true\n[mqtt]\ntls = true\n")
    assert main(["config", "show", "--config", str(file), "--no-mirror", "--no-mqtt-tls", "--no-auth"]) == 0
    shown = capsys.readouterr().out
    assert (tomllib.loads(shown)["mirror"], tomllib.loads(shown)["mqtt"]["tls"]) == (False, False)
    assert tomllib.loads(shown)["web"]["no_auth"]
    assert "# --no-mirror: " in shown


def test_every_setting_but_a_secret_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--mqtt-host",
        "broker",
        "--mqtt-port",
        "1",
        "--mqtt-qos",
        "2",
        "--web-picture-rate",
        "5",
        "--threads",
        "1",
    ]
    assert main(["config", "show", *flags]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert (shown["mqtt"]["host"], shown["mqtt"]["port"], shown["mqtt"]["qos"]) == ("broker", 1, 2)
    assert (shown["web"]["picture_rate"], shown["threads"]) == (5.0, 1)


@pytest.mark.parametrize("value", [1, "1"])
def test_a_mistake_of_a_program_is_not_called_a_flag(value: object) -> None:
    with pytest.raises(ValueError, match=r"^unknown setting max_face: did you mean max_faces\?$"):
        next(mien.stream("demo", max_face=value))


def test_secrets_are_not_shown() -> None:
    secrets = {"MIEN_MQTT_PASSWORD": "open sesame", "MIEN_WEB_TOKEN": "xyzzy", "MIEN_SOURCE": "rtsp://me:12345@door/1"}
    shown = to_toml(load_settings(environment=secrets))
    assert "12345" not in shown
    assert "sesame" not in shown
    assert "xyzzy" not in shown
    assert "# token is set, by MIEN_WEB_TOKEN: what a browser must give" in shown
    assert "# source is set, by MIEN_SOURCE, to rtsp://***@door/1: " in shown


def test_config_show_says_where_each_value_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_MIRROR", "yes")
    assert main(["config", "show", "--max-faces", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("max_faces = 3 ") and "# --max-faces: " in line for line in lines)
    assert any(line.startswith("mirror = true ") and "# MIEN_MIRROR: " in line for line in lines)
    assert any(line.startswith("threads = 2 ") and "# default: " in line for line in lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("treads = 2", r"unknown key 'treads' in .*mien\.toml: did you mean threads\?"),
        ("[web]\nprot = 1", r"unknown key 'web.prot' in .*: did you mean web\.port\?"),
        ("max_faces = 0", r"max_faces is 0 \(.*mien\.toml\): allowed is 1 to 100"),
        ('max_faces = "many"', r"max_faces is 'many' .*: allowed is a whole number"),
        ("smoothing_s = nan", r"smoothing_s is nan .*: allowed is a number"),
        ("rotate = 45", r"rotate is 45 .*: allowed are 0, 90, 180, 270"),
        ("mirror = 1", r"mirror is 1 .*: allowed is true or false"),
        ("output = []", r"output is \[\] .*: allowed is a list of texts"),
        ('size = "640"', r"size is '640' \(.*mien\.toml\): allowed is WIDTHxHEIGHT"),
        ('max_faces = "3"', r"max_faces is '3' .*: allowed is a whole number, 1 to 100$"),
        ('rotate = "90"', r"rotate is '90' .*: allowed are 0, 90, 180, 270"),
        ("[wbe]\nport = 1", r"unknown section \[wbe\] in .*mien\.toml: did you mean \[web\]\?"),
        ("[xyzzy]\nport = 1", r"unknown section \[xyzzy\] in .*: allowed are \[mqtt\], \[web\]"),
        ("xyzzy = 1", r"unknown key 'xyzzy' in .*: `mien config show` lists all$"),
        ('source = ""', r"source is '' .*: allowed is auto, picamera, "),
        ("max_faces = ", r"mien\.toml is not TOML: "),
        ("[web]\ntoken = 12345", r"web\.token \(.*\): allowed is a text"),
    ],
)
def test_a_mistake_in_the_file_names_its_key(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "mien.toml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_settings(path=file, environment={})


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("MIEN_THREADS", "two", r"threads is 'two' \(MIEN_THREADS\): allowed is a whole number"),
        ("MIEN_MIRROR", "perhaps", r"mirror is 'perhaps' \(MIEN_MIRROR\): allowed is true or false"),
        ("MIEN_TREADS", "2", r"unknown variable MIEN_TREADS: did you mean MIEN_THREADS\?"),
    ],
)
def test_a_mistake_in_the_environment_names_its_variable(variable: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_settings(environment={variable: text})


def test_a_file_that_is_not_there_is_named() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mien", "run", "--config", "nowhere.toml"], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr == "error: no configuration at nowhere.toml: `mien config show` prints one to begin with\n"
