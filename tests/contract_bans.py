"""What every store must do: what an operator decides about clients and networks."""

from __future__ import annotations

from rendezvous.core.identity import Credential
from rendezvous.core.presence.states import PulseCode
from rendezvous.core.signaling.specs import OfferSpec
from rendezvous.errors import Forbidden, Malformed, NotFound, Unauthorized
from tests._store_case import DAY, NOW, StoreCase

__all__ = ["BANS"]

HERE = ("198.51.100.7", 40000)


class BanContractTests(StoreCase):
    """Kicks and bans."""

    def come(self) -> tuple[bytes, bytes]:
        """:returns: the id and the key of a client that is ONLINE."""
        client_id, key = self.done(self.store.register(NOW))
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW)), PulseCode.ON_TIME)
        return client_id, key

    def test_kicked_client_is_gone_with_its_offers(self) -> None:
        """Its pulses are answered 1060, and its credential is no longer good."""
        client_id, key = self.come()
        spec = OfferSpec.check(self.store.limits, "", sdp="v=0", topics=["chess"])
        self.done(self.store.publish(client_id.hex(), [spec], NOW))
        self.done(self.store.kick(client_id, NOW))
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW)), PulseCode.UNKNOWN)
        self.refused(self.store.authenticate(Credential(key, client_id), NOW), Unauthorized)
        self.assertEqual(self.listed(self.store.of_peer(client_id.hex(), NOW)), [])

    def test_client_that_is_not_there_cannot_be_kicked(self) -> None:
        """Whether it has left or never was there; its credential stays as it is."""
        client_id, key = self.keyring_pair()
        error = self.refused(self.store.kick(client_id, NOW), NotFound)
        self.assertEqual(error.code, "no-such-client")
        self.assertEqual(self.done(self.store.authenticate(Credential(key, client_id), NOW)), client_id)

    def keyring_pair(self) -> tuple[bytes, bytes]:
        """:returns: an id and its key, of a client that was never registered."""
        client_id = bytes(range(16))
        return client_id, self.keyring.key(client_id)

    def test_banned_client_is_ended_and_refused(self) -> None:
        """Both forms of its credential are refused until the ban ends; the error says when that is."""
        client_id, key = self.come()
        ban = self.done(self.store.ban(client_id.hex(), 60, "floods", NOW))
        self.assertEqual((ban.target, ban.until, ban.reason, ban.since), (client_id.hex(), NOW + 60, "floods", NOW))
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW)), PulseCode.UNKNOWN)
        for credential in (Credential(key, client_id), Credential(key)):
            error = self.refused(self.store.authenticate(credential, NOW + 59), Forbidden)
            self.assertEqual((error.code, error.retry_after), ("banned", 1))
            # It has logged out.
            self.refused(self.store.authenticate(credential, NOW + 60), Unauthorized)

    def test_ban_of_a_client_that_is_not_there(self) -> None:
        """Its credential is refused; who has another key does not learn of the ban."""
        client_id, key = self.keyring_pair()
        self.done(self.store.ban(client_id.hex(), None, "", NOW))
        error = self.refused(self.store.authenticate(Credential(key, client_id), NOW + 3000 * DAY), Forbidden)
        self.assertEqual((error.message, error.retry_after), ("This client is banned.", None))
        self.refused(self.store.authenticate(Credential(bytes(32), client_id), NOW), Unauthorized)

    def test_other_clients_do_not_notice(self) -> None:
        """A ban of one is of no other."""
        client_id, key = self.come()
        other, _ = self.come()
        self.done(self.store.ban(other.hex(), None, "", NOW))
        self.assertEqual(self.done(self.store.authenticate(Credential(key, client_id), NOW)), client_id)
        self.assertIs(self.done(self.store.pulse(key, HERE, NOW)), PulseCode.ON_TIME)

    def test_network(self) -> None:
        """It is known to whoever asks for it, until it is lifted."""
        ban = self.done(self.store.ban("198.51.100.0/24", 60, "", NOW))
        self.assertEqual(self.store.bans.of_host("198.51.100.7", NOW), ban)
        self.assertEqual(self.store.bans.all(NOW), [ban])
        self.assertEqual(self.done(self.store.lift("198.51.100.0/24", NOW)), ban)
        self.assertIsNone(self.store.bans.of_host("198.51.100.7", NOW))
        self.assertEqual(self.refused(self.store.lift("198.51.100.0/24", NOW), NotFound).code, "no-such-ban")

    def test_what_cannot_be_banned(self) -> None:
        """Nothing has changed then."""
        for target, seconds, reason in (
            ("chess", None, ""),
            ("192.0.2.1", 0, ""),
            ("192.0.2.1", -1, ""),
            ("192.0.2.1", float("nan"), ""),
            ("192.0.2.1", 1e12, ""),
            ("192.0.2.1", None, "x" * 201),
            ("192.0.2.1", None, "a\nb"),
        ):
            self.refused(self.store.ban(target, seconds, reason, NOW), Malformed)
        self.assertEqual(self.store.bans.all(NOW), [])

    def test_ban_that_is_over_is_swept(self) -> None:
        """It is not there any more, also not in its table."""
        self.done(self.store.ban("198.51.100.0/24", 60, "", NOW))
        self.done(self.store.sweep(NOW + 59))
        self.assertEqual(len(self.store.bans), 1)
        self.done(self.store.sweep(NOW + 60))
        self.assertEqual(len(self.store.bans), 0)


BANS = [BanContractTests]
