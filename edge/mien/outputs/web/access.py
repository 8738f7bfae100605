"""Who may look: everybody at this computer, and from the network who has the token."""

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mien.config import WebConfig
from mien.outputs.hosts import is_loopback, is_own_name

if TYPE_CHECKING:
    from aiohttp import web


def check_exposure(host: str, config: WebConfig) -> None:
    """Raise ValueError if everybody in the network could look and nobody has said that they may."""
    if not (is_loopback(host) or config.token or config.no_auth):
        raise ValueError(
            f"web page on {host or 'all addresses'}: everybody in the network could look; ask for a token with "
            "MIEN_WEB_TOKEN=..., or let them with --web-no-auth (no_auth = true in [web])"
        )


class Access:
    """Sends away who may not look.

    Args:
        token: that is asked for; "": none is.
        port: that the page is on.
        is_local: whether the page can be reached from this computer only.

    Attributes:
        cookie_name: under which browsers keep what shows that they have the token.
    """

    def __init__(self, token: str, port: int, is_local: bool) -> None:
        self._has_token, self._token_digest, self._is_local = bool(token), _digest(token), is_local
        self.cookie_name = f"mien_{port}"  # browsers send cookies to all ports of a host

    def check(self, request: "web.Request") -> None:
        """Raise the response of who may not look."""
        from aiohttp import web

        # A hostile page can let its own name point to 127.0.0.1 (DNS rebinding) and then read ours, as if they were
        # one site; but the browser tells that name in Host, and no such name is an address or local.
        if self._is_local and not is_own_name(_name(request.headers.get("Host", ""))):
            raise web.HTTPForbidden(text="403: open this page by the device's IP address, localhost or its own name\n")
        if not self._has_token or request.path == "/healthz":
            return
        if self._is_token(request.query.get("token", "")):
            # Browsers go on without the token in the address bar; a program with no cookies gets its answer at once.
            if request.path != "/" and "text/html" not in request.headers.get("Accept", ""):
                return
            response = web.HTTPFound(f"./{request.rel_url.raw_name}")
            response.set_cookie(self.cookie_name, self._token_digest, httponly=True, samesite="Strict")
            raise response
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        cookie = request.cookies.get(self.cookie_name, "")
        if (scheme.lower() == "bearer" and self._is_token(given)) or _is_equal(cookie, self._token_digest):
            return
        headers = {"WWW-Authenticate": "Bearer"}
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # After a link from another site, browsers send no strict cookie; they do when we ask to load it again.
            headers["Refresh"] = "0"
        raise web.HTTPUnauthorized(
            text="401: open this page once with ?token=..., or send Authorization: Bearer ...\n", headers=headers
        )

    def _is_token(self, given: str) -> bool:
        return _is_equal(_digest(given), self._token_digest)


def _name(host: str) -> str:
    """Return the name in the text of a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:  # as of "["
        return ""


def _digest(token: str) -> str:
    return hashlib.sha256(_bytes(token)).hexdigest()


def _is_equal(given: str, wanted: str) -> bool:
    """Compare in a time that says nothing of where they differ."""
    return hmac.compare_digest(_bytes(given), _bytes(wanted))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # a header may hold anything
