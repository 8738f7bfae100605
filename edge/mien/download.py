"""Fetches models that others publish, when somebody asks for them."""

import fcntl
import hashlib
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from io import BufferedRandom
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from mien import __version__
from mien.progress import ProgressBar
from mien.published import Published, is_whole

logger = logging.getLogger(__name__)

TIMEOUT_S = 15.0
"""A server that is silent for so long is given up."""

PAUSES_S = (1.0, 2.0, 4.0)
"""Pauses before a lost connection is made again; so many attempts follow the first one."""

CHUNK_BYTES = 65536


class DownloadError(OSError):
    """A file could not be fetched; the message says why and what to do."""


class _RefusedError(Exception):
    """A request was not answered with the file."""


class _LostError(Exception):
    """A connection was lost before all of the file was here."""


def fetch(published: Published, folder: Path) -> Path:
    """Download a model, unless it is in the folder already; what an earlier attempt left is gone on with.

    Two at a time are no harm: one waits for the other.

    Args:
        published: what to fetch.
        folder: where to; made where it is missing.

    Returns:
        The path of the file, which is whole and right.

    Raises:
        DownloadError: there is no network, the server sends something else, or the folder cannot be written to.
    """
    path = folder / published.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".unfinished-{published.file}.part") as file:
            if not is_whole(path, published):  # else it was here, or another one has brought it
                _download(published, path, file)
                _judge(published, file)
                os.fsync(file.fileno())  # else a power cut could leave the name without the content
                os.replace(file.name, path)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{folder} cannot be written to ({error.strerror or error}): make room or get the right to, or let "
            "XDG_DATA_HOME name another folder"
        ) from error
    return path


@contextmanager
def _locked(path: Path) -> Iterator[BufferedRandom]:
    """Open a file to append to, as soon as no other process has it; remove it if it stays empty."""
    while True:
        with open(path, "a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.warning("it is being fetched already: waiting for that")
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):
                continue  # whoever had it has moved or removed it
            try:
                yield file
            finally:
                if _is_at(file, path) and path.stat().st_size == 0:
                    path.unlink()
            return


def _is_at(file: BufferedRandom, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _download(published: Published, path: Path, file: BufferedRandom) -> None:
    """Append to the file until it has its full size."""
    if file.seek(0, os.SEEK_END) > published.size_bytes:
        file.truncate(file.seek(0))
    with ProgressBar(published.name, published.size_bytes) as bar:
        attempt = 0
        while file.tell() < published.size_bytes:
            try:
                _receive(published, file, bar.update)
            except (_RefusedError, _LostError) as error:
                if attempt == 0 and isinstance(error, _RefusedError):
                    raise DownloadError(
                        f"{error}: try again later, or load {published.url} elsewhere and copy it to {path}"
                    ) from error
                if attempt == len(PAUSES_S):
                    raise DownloadError(
                        f"{error}, with {file.tell():,} of {published.size_bytes:,} bytes here: "
                        f"`mien models fetch {published.name}` goes on where it stopped"
                    ) from error
                logger.warning("%s: trying again", error)
                time.sleep(PAUSES_S[attempt])
                attempt += 1


def _receive(published: Published, file: BufferedRandom, tell: Callable[[float], None]) -> None:
    """Ask for what the file lacks and append it; each piece is on the disk before the next one."""
    response, start = _request(published, file.tell())
    file.truncate(file.seek(start))
    with response:
        while (lacking := published.size_bytes - file.tell()) > 0:
            file.write(_read(response, min(CHUNK_BYTES, lacking)))
            file.flush()
            tell(file.tell())


def _request(published: Published, start: int) -> tuple[HTTPResponse, int]:
    """Return the server's answer and where in the file it begins: at `start`, or at 0."""
    request = Request(published.url, headers={"User-Agent": f"mien/{__version__}"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    redirects = _Redirects(published.url)
    try:
        response: HTTPResponse = build_opener(redirects).open(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # there is nothing from there on
            return _request(published, 0)
        raise _RefusedError(f"{redirects.host} answers {error.code} {error.reason}") from error
    except URLError as error:
        raise _RefusedError(
            f"{redirects.host} cannot be reached ({_why(error.reason)}), and a network is needed"
        ) from error
    except (OSError, HTTPException) as error:
        raise _LostError(f"the connection to {redirects.host} was lost ({_why(error)})") from error
    if response.status == 206 and start:
        total = rf"(\*|{published.size_bytes})"
        if re.fullmatch(rf"bytes {start}-\d+/{total}", response.headers.get("Content-Range", "")):
            return response, start
        response.close()
        return _request(published, 0)
    if response.length not in (None, published.size_bytes):
        response.close()
        raise _RefusedError(
            f"{redirects.host} sends another file of {response.length:,} bytes, not {published.size_bytes:,}"
        )
    return response, 0


def _read(response: HTTPResponse, most: int) -> bytes:
    host = urlsplit(response.url).hostname
    try:
        content = response.read1(most)
    except (OSError, HTTPException) as error:
        raise _LostError(f"the connection to {host} was lost ({_why(error)})") from error
    if not content:
        raise _LostError(f"{host} closed the connection too early")
    return content


def _judge(published: Published, file: BufferedRandom) -> None:
    """Remove what is not the published file, and raise DownloadError."""
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != published.sha256:
        Path(file.name).unlink()
        raise DownloadError(
            f"what {urlsplit(published.url).hostname} sent is not {published.file} (sha256 {found}, expected "
            f"{published.sha256}) and was removed: run it again, with another network if that stays so"
        )


def _why(error: BaseException | str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}; is the clock of this computer right?"
    if isinstance(error, TimeoutError):
        return f"silent for {TIMEOUT_S:g} s"
    return getattr(error, "strerror", None) or str(error)


class _Redirects(HTTPRedirectHandler):
    """Follows to other hosts and remembers which, but never from https to http."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).hostname

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the next request; None makes an error of the answer."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            return None
        self.host = urlsplit(newurl).hostname
        return super().redirect_request(req, fp, code, msg, headers, newurl)
