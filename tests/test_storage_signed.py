"""Copies of signed pulses after a restart: the times of the last ones stand in the file of clients."""

from __future__ import annotations

import os
from pathlib import Path

from rendezvous.core.macs import datagram_key
from rendezvous.core.presence.freshness import WINDOW
from rendezvous.core.presence.signedrequests import Proof, Refusal, Request
from rendezvous.core.presence.states import PulseCode
from rendezvous.storage import client_header
from rendezvous.wire.signed import encode_request
from tests._store_case import NOW
from tests.test_storage_clients import KEYRING, LATE, NEW, ONLINE, THERE, ClientsCase

#: The server time, and the time on the wall clock, when the first process has ended.
END = NOW + 100
MOMENT = round(END * 1000)


class CopyTests(ClientsCase):
    """What an eavesdropper has recorded before a restart, and sends after it."""

    def setUp(self) -> None:
        """Have a client send a signed pulse at the end, and leave the store as it is then."""
        super().setUp()
        self.assertIs(self.signed(MOMENT), PulseCode.ON_TIME)

    def signed(self, time: int, client_id: bytes = ONLINE, now: float = END, wall: float = END) -> PulseCode | Refusal:
        """:returns: what a signed pulse leads to."""
        live = self.store.live
        live.signed._wall = lambda server_time: wall + (server_time - END)
        request = Request(client_id, time, b"nonce..8")
        proof = live.signed.check(request, encode_request(request, datagram_key(KEYRING.key(client_id))), 0, now)
        assert isinstance(proof, Proof), proof
        return live.signed.take_pulse(request, proof, THERE, now, 5024)

    def test_after_a_crash(self) -> None:
        """What was written is in the page cache."""
        self.killed()
        self.store = self.opened(wall=END)
        self.assertIs(self.signed(MOMENT), Refusal.REPEATED)
        self.assertIs(self.signed(MOMENT + 1), PulseCode.ON_TIME)

    def test_after_a_stop(self) -> None:
        """Also when the file is made larger."""
        self.done(self.store.close(END))
        self.store = self.opened(wall=END, max_clients=20_000)
        self.assertIs(self.signed(MOMENT), Refusal.REPEATED)
        self.assertIs(self.signed(MOMENT + 1), PulseCode.ON_TIME)

    def test_after_a_power_cut(self) -> None:
        """Whatever may have been taken before is refused, also from a client whose clock is ahead."""
        self.killed()
        self.patch(client_header, "boot", lambda: b"another boot....")
        self.store = self.opened(wall=END)
        for time, client_id, result in (
            (MOMENT + WINDOW, ONLINE, Refusal.REPEATED),
            (MOMENT + WINDOW, LATE, Refusal.REPEATED),
            (MOMENT + WINDOW + 1, ONLINE, PulseCode.ON_TIME),
        ):
            self.assertIs(self.signed(time, client_id, END + 1), result)
        self.assertIs(self.signed(MOMENT + WINDOW + 1, NEW, END + 1), PulseCode.ON_TIME)

    def test_after_the_file_was_lost(self) -> None:
        """All times are lost."""
        self.killed()
        os.unlink(self.file)
        self.store = self.opened(wall=END)
        self.assertIs(self.signed(MOMENT + WINDOW, now=END + 1), Refusal.REPEATED)
        self.assertIs(self.signed(MOMENT + WINDOW + 1, now=END + 1), PulseCode.ON_TIME)

    def test_after_an_older_copy_was_put_in_place(self) -> None:
        """It lacks the latest times."""
        copy = Path(self.file).read_bytes()
        self.done(self.store.sweep(END + 40))
        self.killed()
        Path(self.file).write_bytes(copy)
        self.store = self.opened(wall=END + 40)
        wall = END + 40
        self.assertIs(self.signed(MOMENT + 40_000 + WINDOW, now=END, wall=wall), Refusal.REPEATED)
        self.assertIs(self.signed(MOMENT + 40_000 + WINDOW + 1, now=END + 1, wall=wall), PulseCode.ON_TIME)

    def test_a_new_store_takes_signed_pulses_at_once(self) -> None:
        """There was no client before whose pulses could be copied."""
        self.done(self.store.close(END))
        self.ids = [b"another client.."]
        self.store = self.opened(self.path + "2", wall=END)
        self.done(self.store.register(END))
        self.assertIs(self.signed(MOMENT - 1, b"another client.."), PulseCode.ON_TIME)
