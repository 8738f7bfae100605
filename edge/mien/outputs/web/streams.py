"""Answers that never end: whoever looks gets what is newest, again and again, and nothing queues."""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

STATE_INTERVAL_S = 1.0
"""When there is nothing new for so long, something else may be sent, so that a browser knows that the device lives."""

PATIENCE_S = 10.0
"""Who takes nothing for so long is dropped."""

MAX_CLIENTS = 50
"""Of the picture, and of the events; each may hold some 300 kB."""


class Newest:
    """The newest of something, for any number of clients that wait for the next one; lives in the event loop.

    Attributes:
        clients: how many there are; may be read from other threads.
        number: counts what was put.
    """

    def __init__(self) -> None:
        self.clients = 0
        self.number = 0
        self._value = b""
        self._changed = asyncio.Event()
        self._is_ended = False

    def put(self, value: bytes) -> None:
        """Replace the value and wake who waits."""
        self._value = value
        self.number += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Let all clients go."""
        self._is_ended = True
        self.put(b"")

    async def send(
        self, request: "web.Request", content_type: str, first: bytes, idle: Callable[[], bytes]
    ) -> "web.StreamResponse":
        """Send what is newest until the client goes; who is slow misses what was new in the meantime.

        Args:
            request: of the client.
            content_type: of the response.
            first: sent at once.
            idle: what to send when there was nothing new for `STATE_INTERVAL_S`; b"" for nothing.
        """
        from aiohttp import web

        if self.clients >= MAX_CLIENTS:
            raise web.HTTPServiceUnavailable(text=f"503: {MAX_CLIENTS} clients look already\n")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        transport = request.transport
        assert transport is not None
        _limit_buffers(transport)
        self.clients += 1
        try:
            await response.prepare(request)
            chunk, number = first, self.number
            while not self._is_ended:
                if chunk:
                    async with asyncio.timeout(PATIENCE_S):
                        await response.write(chunk)
                try:
                    async with asyncio.timeout(STATE_INTERVAL_S):
                        number, chunk = await self._after(number)
                except TimeoutError:
                    chunk = idle()
        except (asyncio.CancelledError, OSError) as error:  # gone, or not reading (TimeoutError), or we are closing
            transport.abort()  # without waiting for what it did not take
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self.clients -= 1
        return response

    async def _after(self, number: int) -> tuple[int, bytes]:
        """Return the newest value and its number as soon as that is not `number`."""
        if self.number == number:
            await self._changed.wait()
        return self.number, self._value


def _limit_buffers(transport: asyncio.Transport | asyncio.BaseTransport) -> None:
    """Keep the system from queueing seconds of pictures for a slow client, and from waiting for one that vanished."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * PATIENCE_S))
