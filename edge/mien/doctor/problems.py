"""All that `mien doctor` itself knows to be wrong, each with what mends it.

docs/troubleshooting.md has an entry for each, with the {names} in capitals; a test compares. What comes from the rest
of mien comes in its own words, which `check.from_error` takes apart.
"""

from mien.doctor.check import FAILURE, WARNING, Problem

# The system.
PYTHON_UNTRIED = Problem(
    WARNING,
    "Python {version}, which mien was not tried on: it is made for 3.11 to 3.13",
    "make the virtual environment with another: Raspberry Pi OS Bookworm has 3.11, Trixie 3.13",
)
PYTHON_32_BIT = Problem(
    FAILURE,
    "no TFLite runtime exists for Python {version} on a 32-bit system ({machine})",
    "install the 64-bit Raspberry Pi OS (a Pi Zero, a Pi 1 and a first Pi 2 cannot run it), or 32-bit Bookworm",
)
PROCESSOR_OLD = Problem(
    FAILURE,
    "no TFLite runtime exists for this processor ({machine})",
    "take another board: a Pi Zero 2 W is the smallest that has one",
)
DISK_FULL = Problem(
    FAILURE,
    "{megabytes} MB free in {folder}",
    "make room: `sudo apt clean`, `sudo journalctl --vacuum-size=50M`, old results; log_size_mb limits new ones",
)
DISK_LOW = Problem(WARNING, DISK_FULL.found, DISK_FULL.fix)
MEMORY_FULL = Problem(
    FAILURE,
    "{megabytes} MB of memory free, with swap; a run takes about 120",
    "end other programs (`ps aux --sort=-rss | head` lists the largest), or boot without a desktop: sudo raspi-config",
)
MEMORY_LOW = Problem(WARNING, "{megabytes} MB of memory free; a run takes about 120", MEMORY_FULL.fix)
HOT = Problem(
    WARNING,
    "{degrees} °C: from {limit} °C on, mien does less to stay cool",
    "cool the processor: a heat sink or a fan, air around it, no sun; `mien run --target-fps 10` asks less of it",
)
TOO_HOT = Problem(FAILURE, "{degrees} °C: the processor is far too hot", HOT.fix)
UNDER_VOLTAGE = Problem(
    FAILURE,
    "{flags}: the power supply is too weak",
    "take the board's own power supply (5 V with 3 A, a Pi 5: 5 A), a short thick cable, and fewer USB devices",
)
UNDER_VOLTAGE_PAST = Problem(WARNING, UNDER_VOLTAGE.found, UNDER_VOLTAGE.fix + "; a restart forgets the past")
THROTTLED = Problem(
    WARNING,
    "{flags}: the processor was or is too hot",
    "cool the processor: a heat sink or a fan, air around it, no sun; a restart forgets the past",
)
FLAGS_CLOSED = Problem(
    WARNING,
    "the firmware's power flags cannot be read",
    "sudo usermod -aG video $USER, then log in again; without vcgencmd: sudo apt install raspi-utils",
)
GOVERNOR_SAVES = Problem(
    WARNING,
    "{governor}: the processor stays at its lowest clock",
    "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
)

# What runs the models.
RUNTIME_MISSING = Problem(FAILURE, "no TFLite runtime is installed", "{command}")
RUNTIME_CRASHES = Problem(FAILURE, "{runtime} crashes when it runs a model ({how}; numpy {numpy})", "{command}")
RUNTIME_HANGS = Problem(FAILURE, "{runtime} gives no answer within {seconds} s", "{command}")
RUNTIME_WRONG = Problem(FAILURE, "{runtime} runs a model, but its answer is none", "{command}")
OPENCV_MISSING = Problem(FAILURE, "OpenCV is not installed", "pip install 'mien[edge]'")
OPENCV_BROKEN = Problem(
    FAILURE,
    "OpenCV cannot be imported ({reason})",
    "pip install --force-reinstall 'opencv-python>=4.8,<5'; if libGL.so.1 is missing: sudo apt install libgl1",
)
OPENCV_CRASHES = Problem(FAILURE, "OpenCV crashes when it is used ({how})", OPENCV_BROKEN.fix)
MODELS_MISSING = Problem(FAILURE, "no model in {folder}", "install mien again; on a Raspberry Pi: script/install-pi")
YUNET_DAMAGED = Problem(FAILURE, "{path} is damaged", "`mien models fetch yunet` brings it again")
NOT_TRIED = Problem(WARNING, "not tried: {what} must work first", "mend what is said of it above")
RECOGNITION_CRASHES = Problem(
    FAILURE,
    "model {model} and detector {detector} crash together ({how})",
    "try others: `mien doctor --detector haar --model mien_net_int8`; if that is well, please report it",
)

# Cameras.
PICAMERA2_HIDDEN = Problem(
    WARNING,
    "picamera2 is installed by apt, but this virtual environment does not see the system's packages",
    "/usr/bin/python3 -m venv --system-site-packages {folder}",
)
PICAMERA2_MISSING = Problem(
    WARNING,
    "picamera2 is not installed, and a camera on the board's own connector needs it",
    "sudo apt install python3-picamera2, and make the virtual environment with --system-site-packages",
)
PICAMERA2_CRASHES = Problem(WARNING, "picamera2 crashes or hangs ({how})", "sudo apt full-upgrade, and restart")
CAMERA_CLOSED = Problem(
    WARNING, "no permission for {devices}", "sudo usermod -aG video $USER, then log in again (a service: restart it)"
)
NO_CAMERA = Problem(
    WARNING,
    "there is no camera, neither a Pi camera nor a USB camera",
    "plug one in, or try --source demo; a Pi camera: switch the board off and press its cable in, on both ends",
)
CAMERA_TAKEN = Problem(
    WARNING,
    "no picture, because another mien run (process {process}) has the camera",
    "all is well if that is your service; to try the camera: sudo systemctl stop mien, and `mien doctor` again",
)
CAMERA_HANGS = Problem(
    FAILURE,
    "{source} gives no picture within {seconds} s",
    "unplug the camera and plug it in again, or restart; `dmesg | tail` tells of drivers in trouble",
)
CAMERA_CRASHES = Problem(FAILURE, "{source} crashes the program ({how})", CAMERA_HANGS.fix)
PICTURE_BLACK = Problem(
    WARNING,
    "the picture of {source} is black",
    "take the cap off the lens, let in light, or choose another camera with --source",
)

# Outputs.
PORT_TAKEN = Problem(
    WARNING,
    "port {port} is in use, and another mien run (process {process}) is there",
    "all is well if that is your service; else give this one another port: --output web:9000",
)
BROKER_AWAY = Problem(
    FAILURE,
    "MQTT broker {host}:{port}: {reason}",
    "is it switched on, and host and port of [mqtt] right? on its own machine: systemctl status mosquitto",
)
BROKER_SILENT = Problem(
    FAILURE,
    "MQTT broker {host}:{port} takes the connection, but gives no answer",
    "is that port one of MQTT? if it wants TLS, set tls = true in [mqtt]; if it does not, false",
)
BROKER_REFUSES = Problem(
    FAILURE,
    "MQTT broker {host}:{port} refuses {who} ({reason})",
    "check username and password of [mqtt], and the broker's own list: mosquitto_passwd",
)
BROKER_DISTRUSTED = Problem(
    FAILURE,
    "MQTT broker {host}:{port}: its certificate is not trusted ({reason})",
    "set ca_file in [mqtt] to the authority that signed it, and host to the name in the certificate",
)
PASSWORD_OPEN = Problem(
    WARNING,
    "MQTT broker {host}:{port} accepts the login, but the password goes there unencrypted",
    "set tls = true in [mqtt]",
)
