"""A TCP proxy in the suite's own process whose connections can be refused, reset, swallowed, held back or slowed."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any

HOST = "127.0.0.1"


class Cut(StrEnum):
    """How the network fails."""

    REFUSE = "refuse"
    """Nobody listens any more; what was open is reset."""
    RESET = "reset"
    """Every connection, also each new one, is reset."""
    BLACKHOLE = "blackhole"
    """Bytes vanish and nobody is told; afterwards those connections are dead, as behind a firewall that forgot them."""
    STALL = "stall"
    """Bytes are held back and come when the cut is over, as TCP sends again what was lost."""


class Link:
    """One connection through the proxy; `doomed`: bytes of it are lost, so it can not go on."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.doomed = False

    def reset(self) -> None:
        """Both ends see a reset."""
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Passes connections to `port` of this machine on to `target`; the commands may come from any thread."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._links: set[Link] = set()
        self._cut: Cut | None = None
        self._delay = 0.0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True).start()
        self._run(self._listen())

    def cut(self, how: Cut) -> None:
        """From now on, until `heal`."""
        self._run(self._begin(how))

    def heal(self) -> None:
        """Everything passes again; what can not go on is reset."""
        self._run(self._end())

    def slow(self, seconds: float) -> None:
        """Every piece of data waits so long, 0 for not at all."""
        self._delay = seconds

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def _begin(self, how: Cut) -> None:
        self._cut = how
        self._open.clear()
        if how is Cut.REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        if how in (Cut.REFUSE, Cut.RESET):
            for link in list(self._links):
                link.reset()

    async def _end(self) -> None:
        self._cut = None
        for link in list(self._links):
            if link.doomed:
                link.reset()
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(writer)
        self._links.add(link)
        try:
            if self._cut is Cut.BLACKHOLE:
                link.doomed = True
            if self._cut in (Cut.BLACKHOLE, Cut.STALL):
                await self._open.wait()
            if self._cut is not None or link.doomed:
                return
            onward, back = await asyncio.open_connection(HOST, self._target)
            link.writers.append(back)
            await asyncio.gather(self._pump(reader, back, link), self._pump(onward, writer, link))
            back.close()
            writer.close()
        except OSError:  # an end is gone: so is the other, below, unless a cut hides it
            await self._open.wait()
        finally:
            if not writer.is_closing():
                link.reset()
            self._links.discard(link)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
        while data := await reader.read(65_536):
            if self._delay:
                await asyncio.sleep(self._delay)
            if self._cut is Cut.BLACKHOLE:
                link.doomed = True
            if link.doomed:
                continue
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        await self._open.wait()  # an end during a cut is not to be seen
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
