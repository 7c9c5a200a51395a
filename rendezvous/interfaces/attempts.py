"""What a store does for attempts to connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Callable

    from rendezvous.core.attempts.attempt import AttemptView, Facilities, Given, Invitation, Outcome
    from rendezvous.core.attempts.table import Due
    from rendezvous.core.connect import Candidate as AttemptCandidate
    from rendezvous.core.presence.states import PulseCode
    from rendezvous.core.sources import SourceNetwork

__all__ = ["IAttemptStore"]


class IAttemptStore(Interface):
    """
    Attempts to connect: the verbs of :class:`~rendezvous.core.attempts.attempts.Attempts`, which say what each does and
    raises.

    Attempts are named by 8 bytes. A change is notified with the key :class:`~rendezvous.core.notes.AttemptSide`. An
    invitation is among the events of the invited client, and notified as they are.
    """

    def use_facilities(facilities: Facilities) -> None:
        """Say what the server has for clients that connect."""

    def on_attempts_due(call: Callable[[], None]) -> None:
        """
        Say what is called when something is due earlier than :meth:`attempts_due` has said, and when an attempt ends.

        It is called in the middle of a decision.
        """

    async def attempts_due(now: float) -> Due:
        """Let time pass for attempts: those end that are over, and what is due to be sent is returned once."""

    async def begin_attempt(
        client_id: bytes, peer: bytes, given: Given, now: float, source: SourceNetwork = ...
    ) -> AttemptView:
        """
        Begin an attempt.

        :raises NotFound: ``no-such-peer``.
        """

    async def accept_attempt(client_id: bytes, attempt: bytes, given: Given, now: float) -> AttemptView:
        """Accept an invitation."""

    async def name_candidates(
        client_id: bytes, attempt: bytes, candidates: tuple[AttemptCandidate, ...], now: float
    ) -> AttemptView:
        """Replace the candidates of a side."""

    async def attempt(client_id: bytes, attempt: bytes, now: float) -> AttemptView:
        """Look at an attempt."""

    async def end_attempt(client_id: bytes, attempt: bytes, now: float) -> AttemptView:
        """Decline an invitation, or give up."""

    async def report_attempt(client_id: bytes, attempt: bytes, outcome: Outcome, now: float) -> AttemptView:
        """Say how it went."""

    async def invitations(client_id: bytes, now: float) -> list[Invitation]:
        """The invitations of a client that it has neither accepted nor declined."""

    async def observe(
        client_id: bytes, attempt: bytes, round: int, time: int, port: int, address: tuple[str, int], now: float
    ) -> PulseCode | None:
        """
        Take an observation whose MAC and time were right.

        :returns: the code of the answer; ``None`` for no answer, as it is not later than the last one.
        """

    def client_of_check(attempt: bytes, nonce: bytes) -> bytes | None:
        """:returns: the client under whose key the answer to an address check must hold; ``None`` if there is none."""

    async def take_check_answer(attempt: bytes, nonce: bytes, now: float) -> None:
        """Take the answer to an address check whose MAC was right."""
