"""The machine's card and condition are read from a Raspberry Pi's firmware, from the kernel, or left out."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.machine import condition, describe, invalid_reasons, machine_card, other_cpu_s
from mien import device

FILES = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n",
    "proc/meminfo": "MemTotal:        3884360 kB\nMemFree: 1 kB\n",
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "27800\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "61835\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1800000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a Raspberry Pi's /proc and /sys; no command is found."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def _add_command(root: Path, name: str, script: str) -> None:
    path = root / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_pi_without_vcgencmd_is_read_from_the_kernel(root: Path) -> None:
    now = condition(root)
    assert isinstance(now.pop("load_1min"), float)
    assert now == {"temperature_c": 61.8, "clock_mhz": 1800, "throttled": "0x50000"}


def test_the_firmware_knows_better_than_the_kernel(root: Path) -> None:
    _add_command(
        root, "vcgencmd", 'case "$*" in get_throttled) echo throttled=0x4;; *) echo "frequency(48)=1000265600";; esac'
    )
    now = condition(root)
    assert (now["clock_mhz"], now["throttled"]) == (1000, "0x4")


def test_a_vcgencmd_that_fails_is_passed_over(root: Path) -> None:
    _add_command(root, "vcgencmd", "echo VCHI initialization failed; exit 255")
    assert condition(root)["throttled"] == "0x50000"


def test_a_firmware_that_does_not_know_the_question_is_passed_over(root: Path) -> None:
    _add_command(root, "vcgencmd", """echo 'error=1 error_msg="Command not registered"'""")
    now = condition(root)
    assert (now["clock_mhz"], now["throttled"]) == (1800, "0x50000")


def test_a_pi_5_has_an_address_in_its_folders(root: Path) -> None:
    (root / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    file = root / "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    file.write_text("2\n")
    assert device.throttled_flags(root) == 2


def test_what_a_machine_does_not_tell_is_none(root: Path) -> None:
    empty = root / "empty"
    assert {**condition(empty), "load_1min": None} == dict.fromkeys(
        ("temperature_c", "clock_mhz", "throttled", "load_1min")
    )
    assert not {"board", "governor", "memory"} & machine_card(empty).keys()


def test_the_card_of_a_pi_names_board_processor_and_governor(root: Path) -> None:
    _add_command(root, "lscpu", "echo 'Vendor ID:   ARM'; echo 'Model name:  Cortex-A72'")
    card = machine_card(root)
    assert {name: card[name] for name in ("board", "processor", "memory", "governor")} == {
        "board": "Raspberry Pi 4 Model B Rev 1.5",
        "processor": "Cortex-A72",
        "memory": "3.7 GiB",
        "governor": "ondemand",
    }
    assert "git" not in card  # which is not found there
    assert describe(card).startswith("board Raspberry Pi 4 Model B Rev 1.5, processor Cortex-A72, cores ")


def test_the_card_names_the_commit_and_whether_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    git("init", "--quiet")
    assert "git" not in machine_card()  # no commit yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "--message", "a")
    git("tag", "v1")
    revision = git("rev-parse", "--short", "HEAD")
    assert machine_card()["git"] == revision
    (tmp_path / "a").write_text("2")
    assert machine_card()["git"] == f"{revision}+changes"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("0x0", "0x0", []),
        (None, None, []),
        (None, "0x50000", ["there was under-voltage", "there was throttling"]),
        ("0x50000", "0x50000", []),  # that was before the run
        ("0x50000", "0x70000", ["there was a capped clock"]),
        ("0x0", "0x80008", ["the run ended with the soft temperature limit"]),
        ("0x40004", "0x40000", ["the run began with throttling"]),
        ("0x50005", "0x50005", ["the run began with under-voltage", "the run began with throttling"]),
    ],
)
def test_a_throttled_run_is_invalid(before: str | None, after: str | None, words: list[str]) -> None:
    reasons = invalid_reasons({"throttled": before}, {"throttled": after})
    assert len(reasons) == len(words)
    assert all(reason.startswith(start) for reason, start in zip(reasons, words, strict=True))


def test_conditions_of_older_results_say_nothing() -> None:
    assert invalid_reasons({}, {}) == []


def test_work_of_other_processes_is_told_from_our_own(tmp_path: Path) -> None:
    assert other_cpu_s(str(tmp_path / "stat")) is None
    before_s = other_cpu_s()
    assert before_s is not None
    subprocess.run(["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"], check=True)
    after_s = other_cpu_s()
    assert after_s is not None
    assert after_s - before_s > 0.1


def test_processor_name_is_the_boards_where_there_is_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "board_name", lambda: "Raspberry Pi Zero 2 W Rev 1.0")
    assert device.processor_name() == "Raspberry Pi Zero 2 W Rev 1.0"
    monkeypatch.setattr(device, "board_name", lambda: None)
    assert device.processor_name() == device.chip_name()
