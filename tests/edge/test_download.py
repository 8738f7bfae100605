"""`mien models fetch`, from real servers on this machine that behave as servers and networks do."""

import hashlib
import os
import pty
import random
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien import download
from mien.cli import main
from mien.download import DownloadError, fetch
from mien.published import PUBLISHED, Published, find_published, require_published
from tests.conftest import DATA, require_program

MODEL = DATA / "media" / "models" / PUBLISHED["yunet"].file
FETCH = ["models", "fetch", "yunet"]


@dataclass(frozen=True)
class Way:
    """How a request is answered; `stop_after` bytes of the content, the connection is closed or falls silent."""

    status: int = 200
    has_ranges: bool = True
    has_length: bool = True
    content: bytes | None = None
    content_range: str = ""
    stop_after: int = sys.maxsize
    is_silent: bool = False
    bytes_a_second: float = 0
    location: str = ""


@dataclass
class Server:
    """A web server; each request takes the next of its `ways`, and the last way stays."""

    content: bytes
    ways: list[Way] = field(default_factory=lambda: [Way()])
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> "Server":
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(self))
        if self.tls:
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self._http.server_port}/model.onnx"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


def make_handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            way = server.ways.pop(0) if len(server.ways) > 1 else server.ways[0]
            asked = self.headers["Range"]
            server.requests.append((self.path, asked))
            content = server.content if way.content is None else way.content
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and way.has_ranges else 0
            self.send_response(206 if start and way.status == 200 else way.status)
            if start:
                whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", way.content_range or whole)
            if way.location:
                self.send_header("Location", way.location)
            if way.has_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.send(content[start : way.stop_after], way.bytes_a_second)
            if way.is_silent:
                server.go_on.wait(60)
                self.send(content[max(start, way.stop_after) :], 0)

        def send(self, content: bytes, bytes_a_second: float) -> None:
            step = 4096 if bytes_a_second else max(1, len(content))
            try:
                for start in range(0, len(content), step):
                    self.wfile.write(content[start : start + step])
                    time.sleep(step / bytes_a_second if bytes_a_second else 0)
            except OSError:
                pass  # the client has gone

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep this machine's proxies and models away; return where models go."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "shared"))
    return tmp_path / "home" / "mien" / "models"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server that has the real model, or as many other bytes, and let `mien models` know of it."""
    content = MODEL.read_bytes() if MODEL.exists() else random.Random(0).randbytes(PUBLISHED["yunet"].size_bytes)
    with Server(content) as running:
        published = replace(PUBLISHED["yunet"], url=running.url)
        if not MODEL.exists():
            published = replace(published, sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(PUBLISHED, "yunet", published)
        monkeypatch.setattr(download, "PAUSES_S", (0.01, 0.01, 0.01))
        yield running


def command(published: Published, *before: str) -> list[str]:
    """Return the command line of `mien models fetch yunet`, in a process of its own, from our server."""
    lines = [
        "import resource, sys",
        "import mien.published",
        "from mien import cli, download",
        f"mien.published.PUBLISHED['yunet'] = mien.published.{published!r}",
        *before,
        f"sys.exit(cli.main({FETCH}))",
    ]
    return [sys.executable, "-c", "\n".join(lines)]


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def partial_in(folder: Path) -> Path:
    return folder / f".unfinished-{PUBLISHED['yunet'].file}.part"


def test_a_model_is_fetched_once_and_listed(
    server: Server, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models"]) == 0
    missing = "yunet: face detector of OpenCV's model zoo; not here, `mien models fetch yunet` brings it (0.23 MB, MIT)"
    assert capsys.readouterr().out.splitlines()[-1] == missing
    assert main(FETCH) == 0
    path = own_folders / "face_detection_yunet_2023mar.onnx"
    output = capsys.readouterr()
    assert output.out.startswith(f"{path} (0.23 MB, MIT, from https://github.com/opencv/opencv_zoo/")
    assert (len(output.out.splitlines()), output.err) == (1, "")
    assert list(own_folders.iterdir()) == [path]
    assert path.read_bytes() == server.content
    assert require_published("yunet") == path
    assert main(FETCH) == 0
    assert capsys.readouterr().out == f"yunet is here already: {path}\n"
    assert fetch(PUBLISHED["yunet"], own_folders) == path
    assert server.ranges == [None]
    assert main(["models"]) == 0
    here = f"yunet: face detector of OpenCV's model zoo; 0.23 MB, MIT, in {path}"
    assert capsys.readouterr().out.splitlines()[-1] == here


def test_an_unknown_name_is_told_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "retinaface"]) == 2
    assert capsys.readouterr().err == "error: unknown model 'retinaface': allowed to fetch is yunet\n"


@pytest.mark.parametrize(
    ("second", "ranges"),
    [
        pytest.param(Way(), [None, "bytes=100000-"], id="goes on"),
        pytest.param(Way(content_range="bytes 100000-232588/*"), [None, "bytes=100000-"], id="size unknown"),
        pytest.param(Way(has_ranges=False), [None, "bytes=100000-"], id="no ranges"),
        pytest.param(Way(content_range="bytes 5-9/10"), [None, "bytes=100000-", None], id="wrong range"),
        pytest.param(Way(status=416, content=b""), [None, "bytes=100000-", None], id="416"),
    ],
)
def test_a_connection_that_breaks_is_made_again(
    server: Server, own_folders: Path, second: Way, ranges: list[str | None]
) -> None:
    server.ways = [Way(stop_after=100_000), second, Way()]
    path = fetch(PUBLISHED["yunet"], own_folders)
    assert path.read_bytes() == server.content
    assert server.ranges == ranges
    assert list(own_folders.iterdir()) == [path]


@pytest.mark.parametrize("stop_after", [0, 100_000], ids=["at once", "in the middle"])
def test_a_silent_server_is_given_up_and_asked_again(
    server: Server,
    own_folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stop_after: int,
) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    server.ways = [Way(stop_after=stop_after, is_silent=True), Way()]
    assert fetch(PUBLISHED["yunet"], own_folders).read_bytes() == server.content
    assert server.ranges == [None, f"bytes={stop_after}-" if stop_after else None]
    assert caplog.messages == ["the connection to 127.0.0.1 was lost (silent for 0.3 s): trying again"]


def test_after_some_attempts_it_ends_and_the_next_run_goes_on(
    server: Server, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.ways = [Way(stop_after=stop) for stop in (50_000, 60_000, 60_000, 70_000)] + [Way()]
    assert main(FETCH) == 1
    assert capsys.readouterr().err == (
        "error: 127.0.0.1 closed the connection too early, with 70,000 of 232,589 bytes here: "
        "`mien models fetch yunet` goes on where it stopped\n"
    )
    assert find_published("yunet") is None
    assert main(FETCH) == 0
    assert server.ranges == [None, "bytes=50000-", "bytes=60000-", "bytes=60000-", "bytes=70000-"]
    assert require_published("yunet").read_bytes() == server.content


def test_a_server_that_goes_away_in_the_middle_leaves_what_was_received(own_folders: Path, server: Server) -> None:
    def go_away() -> None:
        wait_until(lambda: partial_in(own_folders).exists() and partial_in(own_folders).stat().st_size == 100_000)
        server._http.server_close()
        server.go_on.set()

    server.ways = [Way(stop_after=100_000, is_silent=True, content=server.content[:100_000], has_length=False)]
    threading.Thread(target=go_away, daemon=True).start()
    with pytest.raises(DownloadError, match=r"cannot be reached \(Connection refused\).* 100,000 of .* goes on where"):
        fetch(PUBLISHED["yunet"], own_folders)
    assert partial_in(own_folders).read_bytes() == server.content[:100_000]


@pytest.mark.parametrize("has_length", [True, False])
def test_other_content_is_refused_and_removed(
    server: Server, own_folders: Path, capsys: pytest.CaptureFixture[str], has_length: bool
) -> None:
    wrong = bytes(len(server.content))
    server.ways = [Way(content=wrong, has_length=has_length)]
    assert main(FETCH) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    found, expected = hashlib.sha256(wrong).hexdigest(), PUBLISHED["yunet"].sha256
    assert f"(sha256 {found}, expected {expected}) and was removed" in error
    assert list(own_folders.iterdir()) == []


@pytest.mark.parametrize("size", [131, 232_590])
def test_a_page_instead_of_the_file_is_recognised_by_its_size(server: Server, own_folders: Path, size: int) -> None:
    server.ways = [Way(content=bytes(size))]
    with pytest.raises(DownloadError, match=f"127.0.0.1 sends another file of {size:,} bytes, not 232,589: .* copy it"):
        fetch(PUBLISHED["yunet"], own_folders)
    assert list(own_folders.iterdir()) == []


def test_no_more_is_read_than_the_file_has(server: Server, own_folders: Path) -> None:
    server.ways = [Way(content=server.content + bytes(300_000_000), has_length=False)]
    assert fetch(PUBLISHED["yunet"], own_folders).read_bytes() == server.content


@pytest.mark.parametrize("left", [0, 100_000, 232_589, 300_000])
def test_what_an_earlier_attempt_left_is_gone_on_with(server: Server, own_folders: Path, left: int) -> None:
    own_folders.mkdir(parents=True)
    partial_in(own_folders).write_bytes((server.content + bytes(100_000))[:left])
    path = fetch(PUBLISHED["yunet"], own_folders)
    assert path.read_bytes() == server.content
    assert list(own_folders.iterdir()) == [path]
    assert server.ranges == {100_000: ["bytes=100000-"], 232_589: []}.get(left, [None])


def test_a_missing_file_is_told_with_another_way_to_get_it(
    server: Server, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.ways = [Way(status=404)]
    assert main(FETCH) == 1
    assert capsys.readouterr().err == (
        f"error: 127.0.0.1 answers 404 Not Found: try again later, or load {server.url} elsewhere and copy it to "
        f"{own_folders / PUBLISHED['yunet'].file}\n"
    )
    assert list(own_folders.iterdir()) == []


def test_redirects_to_another_host_are_followed_and_it_is_named(server: Server, own_folders: Path) -> None:
    elsewhere = server.url.replace("127.0.0.1", "localhost").replace("model", "media/model")
    moved = Way(status=302, location=elsewhere, content=b"")
    server.ways = [moved, Way(stop_after=100_000), moved, Way()]
    assert fetch(PUBLISHED["yunet"], own_folders).read_bytes() == server.content
    assert server.requests == [
        ("/model.onnx", None),
        ("/media/model.onnx", None),
        ("/model.onnx", "bytes=100000-"),
        ("/media/model.onnx", "bytes=100000-"),
    ]
    (own_folders / PUBLISHED["yunet"].file).unlink()
    server.ways = [moved, Way(status=404)]
    with pytest.raises(DownloadError, match=r"^localhost answers 404 Not Found"):
        fetch(PUBLISHED["yunet"], own_folders)


def test_a_certificate_is_checked_and_https_never_becomes_http(
    server: Server, own_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    openssl = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=us -addext subjectAltName=IP:127.0.0.1 -keyout {key}"
    arguments = [require_program("openssl", "openssl"), *openssl.split(), "-out", str(certificate)]
    subprocess.run(arguments, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with Server(server.content, tls=tls) as secure:
        published = replace(PUBLISHED["yunet"], url=secure.url)
        with pytest.raises(DownloadError, match="its certificate is refused: self-signed certificate; is the clock"):
            fetch(published, own_folders)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        secure.ways = [Way(status=302, location=server.url, content=b""), Way()]
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1 answers 302 Found"):
            fetch(published, own_folders)
        assert server.requests == []
        assert fetch(published, own_folders).read_bytes() == server.content


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_without_a_network_one_line_says_what_to_do(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://{host}:{nobody.getsockname()[1]}/model.onnx"
        monkeypatch.setitem(PUBLISHED, "yunet", replace(PUBLISHED["yunet"], url=url))
        assert main(FETCH) == 1
    output = capsys.readouterr()
    place = re.escape(str(own_folders / PUBLISHED["yunet"].file))
    assert re.fullmatch(
        rf"error: {host} cannot be reached \([^()]+\), and a network is needed: try again later, or load {url} "
        rf"elsewhere and copy it to {place}\n",
        output.err,
    )
    assert output.out == ""
    assert list(own_folders.iterdir()) == []


def test_a_proxy_is_used_where_one_is_named(server: Server, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/model.onnx"))
    fetch(replace(PUBLISHED["yunet"], url="http://nowhere.invalid/model.onnx"), own_folders)
    assert server.requests == [("http://nowhere.invalid/model.onnx", None)]


def test_ctrl_c_keeps_what_is_here_and_the_next_run_goes_on(server: Server, own_folders: Path) -> None:
    server.ways = [Way(stop_after=100_000, is_silent=True), Way()]
    process = subprocess.Popen(command(PUBLISHED["yunet"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    partial = partial_in(own_folders)
    wait_until(lambda: partial.exists() and partial.stat().st_size == 100_000)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130
    assert partial.read_bytes() == server.content[:100_000]
    assert main(FETCH) == 0
    assert server.ranges == [None, "bytes=100000-"]
    assert require_published("yunet").read_bytes() == server.content


@pytest.mark.parametrize("fate", ["ends", "is killed", "gets something else"])
def test_a_second_fetch_waits_for_the_first(server: Server, own_folders: Path, fate: str) -> None:
    content = bytes(len(server.content)) if fate == "gets something else" else None
    server.ways = [Way(stop_after=100_000, is_silent=True, content=content, bytes_a_second=1e6), Way()]
    first = subprocess.Popen(command(PUBLISHED["yunet"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    partial = partial_in(own_folders)
    wait_until(lambda: partial.exists() and partial.stat().st_size == 100_000)
    second = subprocess.Popen(command(PUBLISHED["yunet"]), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert second.stderr is not None
    assert second.stderr.readline() == b"warning: it is being fetched already: waiting for that\n"
    if fate == "is killed":
        first.kill()
    else:
        server.go_on.set()
    first.communicate(timeout=30)
    out, error = second.communicate(timeout=30)
    codes = {"ends": 0, "is killed": -signal.SIGKILL, "gets something else": 1}
    assert (first.returncode, second.returncode, error) == (codes[fate], 0, b"")
    path = own_folders / PUBLISHED["yunet"].file
    assert out.decode().startswith(f"{path} (")
    assert list(own_folders.iterdir()) == [path]
    assert require_published("yunet").read_bytes() == server.content
    later: dict[str, list[str | None]] = {"ends": [], "is killed": ["bytes=100000-"], "gets something else": [None]}
    assert server.ranges == [None, *later[fate]]


def test_many_at_the_same_time_never_make_a_damaged_file(server: Server, own_folders: Path) -> None:
    server.ways = [Way(bytes_a_second=1e6)]
    errors: list[BaseException] = []

    def fetch_and_look() -> None:
        try:
            assert fetch(PUBLISHED["yunet"], own_folders).read_bytes() == server.content
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch_and_look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert server.ranges == [None]
    assert [file.name for file in own_folders.iterdir()] == [PUBLISHED["yunet"].file]


def test_a_full_disk_is_told_in_one_line_and_the_next_run_goes_on(server: Server, own_folders: Path) -> None:
    most = f"resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))"
    result = subprocess.run(command(PUBLISHED["yunet"], most), capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: {own_folders} cannot be written to (File too large): make room or get the right to, or let "
        "XDG_DATA_HOME name another folder\n"
    )
    assert partial_in(own_folders).read_bytes() == server.content[:100_000]
    assert main(FETCH) == 0
    assert server.ranges == [None, "bytes=100000-"]


def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("a file")
    assert main(FETCH) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/home/mien/models cannot be written to (Not a directory): ")
    assert len(error.splitlines()) == 1
    assert server.requests == []


def test_a_terminal_shows_how_far_it_is(server: Server) -> None:
    server.ways = [Way(bytes_a_second=200_000)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(PUBLISHED["yunet"]), stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # Linux says so when the other side is closed
    os.close(ours)
    process.communicate(timeout=30)
    assert process.returncode == 0
    shares = [int(share) for share in re.findall(rb"yunet  \[[#.]{24}\] +(\d+) %", shown)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 100
    assert len([share for share in shares if 0 < share < 100]) >= 2


def test_a_model_of_all_users_is_found_and_ones_own_comes_first(
    server: Server, own_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "shared" / "mien" / "models" / PUBLISHED["yunet"].file
    shared.parent.mkdir(parents=True)
    shared.write_bytes(server.content)
    assert find_published("yunet") == shared
    assert main(FETCH) == 0
    assert capsys.readouterr().out == f"yunet is here already: {shared}\n"
    own = own_folders / PUBLISHED["yunet"].file
    own.parent.mkdir(parents=True)
    own.write_bytes(server.content)
    assert find_published("yunet") == own
    own.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")  # what a clone without Git LFS has
    assert find_published("yunet") == shared


def test_a_missing_model_is_told_with_the_command_that_brings_it() -> None:
    assert find_published("yunet") is None
    with pytest.raises(FileNotFoundError, match="`mien models fetch yunet` brings it, or take --detector haar"):
        require_published("yunet")


@pytest.mark.parametrize("size", [131, 232_589])
def test_a_damaged_model_is_never_used_and_replaced(
    server: Server, own_folders: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    path = own_folders / PUBLISHED["yunet"].file
    path.parent.mkdir(parents=True)
    path.write_bytes(server.content[: size - 1] + b"?")
    with pytest.raises(ValueError, match=rf"is damaged \({size:,} bytes .*`mien models fetch yunet` brings it again"):
        require_published("yunet")
    assert main(["models"]) == 0
    assert f"{path} is damaged, `mien models fetch yunet` brings it" in capsys.readouterr().out
    assert main(FETCH) == 0
    assert require_published("yunet").read_bytes() == server.content
