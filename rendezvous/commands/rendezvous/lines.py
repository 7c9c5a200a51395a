"""``rendezvous connect`` and ``rendezvous listen``: lines of stdin are sent as datagrams, and datagrams are printed."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from rendezvous.client.connecting.paths import MAX_PAYLOAD
from rendezvous.commands.rendezvous.connecting import connect
from rendezvous.commands.rendezvous.context import Context
from rendezvous.commands.rendezvous.paths import Path, listen

__all__ = ["LineCarrier", "connect_lines", "listen_lines"]


async def connect_lines(context: Context) -> int:
    """
    Connect to a peer, and exchange lines with it until stdin ends or the peer closes.

    :returns: the exit status.
    """
    return await connect(context, LineCarrier(context, ends_with_input=True))


async def listen_lines(context: Context) -> int:
    """
    Wait for peers, and exchange lines with one at a time.

    :returns: the exit status.
    """
    return await listen(context, LineCarrier(context, ends_with_input=False), 1)


class LineCarrier:
    """
    Carries lines between stdin, stdout and the open path.

    :param context: prints.
    :param ends_with_input: whether the end of stdin ends the command.
    """

    def __init__(self, context: Context, *, ends_with_input: bool) -> None:
        self.finished: Deferred[None] = Deferred()
        self._output = context.output
        self._ends_with_input = ends_with_input
        self._path: Path | None = None
        self._dropped = 0
        self._console = context.make_console(self, MAX_PAYLOAD)
        self._output.redirect(self._console.write)

    def opened(self, path: Path) -> None:
        """Send lines there."""
        self._path = path
        self._console.resume()

    def received(self, path: Path, payload: bytes) -> None:
        """Print a line."""
        if not self._output.data(path.peer, payload):
            self._dropped += 1
            if self._dropped == 1:
                self._output.warn("Stdout is not read fast enough: lines from the peer are dropped.")

    def closed(self, path: Path) -> None:
        """Leave lines in stdin until there is another path."""
        if self._path is path:
            self._path = None
            self._console.pause()

    async def stop(self) -> None:
        """Write what is buffered."""
        if self._dropped:
            self._output.warn(f"Lines from the peer that were dropped: {self._dropped}")
        await self._console.close()
        self._output.redirect(None)

    def line(self, line: bytes) -> None:
        """Send a line."""
        if self._path is not None:
            self._path.send(line)

    def too_long(self, size: int) -> None:
        """Say that a line cannot be sent."""
        self._output.warn(f"A line of {size} bytes is not sent: at most {MAX_PAYLOAD} bytes fit into a datagram.")

    def input_ended(self) -> None:
        """End the connection."""
        if self._ends_with_input:
            self._finish()

    def output_closed(self) -> None:
        """End the command: what peers send could not be printed."""
        self._finish()

    def _finish(self) -> None:
        if not self.finished.called:
            self.finished.callback(None)
