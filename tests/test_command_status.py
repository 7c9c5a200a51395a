"""``rendezvous id`` and ``rendezvous status``, and how a subcommand ends."""

from __future__ import annotations

import io
import os
from unittest import mock

from twisted.internet.defer import Deferred

from rendezvous.client import Identity, RequestRefused, ServerUnreachable
from rendezvous.commands.rendezvous.errors import CommandError
from rendezvous.commands.rendezvous.identity import IdentityFile
from rendezvous.commands.rendezvous.output import Output
from rendezvous.commands.rendezvous.program import finish
from rendezvous.commands.rendezvous.status import show_id, show_status
from rendezvous.core.registrationtokens import RegistrationTokens
from tests._command_case import URL, CommandCase


class IdTests(CommandCase):
    """``rendezvous id``."""

    def test_first_run_registers(self) -> None:
        """The id is printed alone, and kept."""
        status, out, err = self.done(show_id, "id")
        self.assertEqual((status, err), (0, ""))
        identity = IdentityFile(self.path, URL).load()
        assert identity is not None
        self.assertEqual(out, identity.client_id + "\n")

    def test_later_runs_print_the_same(self) -> None:
        """Also after a time in which the client was seen."""
        first = self.done(show_id, "id")
        self.server.reactor.advance(290)
        self.assertEqual(self.done(show_id, "id"), first)
        self.server.reactor.advance(290)
        self.assertEqual(self.done(show_id, "id"), first)

    def test_client_that_is_gone_registers_again(self) -> None:
        """A line says that the id is a new one."""
        _, old, _ = self.done(show_id, "id")
        self.server.reactor.advance(600)
        status, new, err = self.done(show_id, "id")
        self.assertEqual(status, 0)
        self.assertNotEqual(new, old)
        self.assertIn(f"no longer knows {old.strip()}", err)
        self.assertIn(new.strip(), err)
        self.assertEqual(self.done(show_id, "id"), (0, new, ""))

    def test_json(self) -> None:
        """One object, with the server."""
        _, text, _ = self.done(show_id, "id")
        self.done(show_id, "id", "--json")
        self.assertEqual(self.objects(), [{"id": text.strip(), "server": URL}])

    def test_other_file(self) -> None:
        """Another file is another client."""
        _, first, _ = self.done(show_id, "id")
        _, second, _ = self.done(show_id, "id", "--identity", str(self.directory / "other.json"))
        self.assertNotEqual(first, second)

    def test_file_that_others_can_read(self) -> None:
        """Nothing is sent, and one line says what to do."""
        self.done(show_id, "id")
        self.path.chmod(0o644)
        status, out, err = self.done(show_id, "id")
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("chmod 600", err)

    def test_identity_in_use_is_printed(self) -> None:
        """The lock only keeps others from using the identity and from registering again."""
        _, text, _ = self.done(show_id, "id")
        lock = IdentityFile(self.path, URL).lock()
        assert lock is not None
        self.addCleanup(lock.release)
        self.assertEqual(self.done(show_id, "id"), (0, text, ""))

    def test_registration_token(self) -> None:
        """It is read from a file to register; an identity that the server knows needs none."""
        self.server.rendezvous.web.gate.admission.tokens = RegistrationTokens(["team-north-3b9d51ea70c2"])
        status, out, err = self.done(show_id, "id", "--json")
        failed = self.objects()[-1]
        self.assertEqual((status, failed["code"]), (1, "registration-token"))
        self.assertIn("ask its operator for one", failed["reason"])
        path = self.directory / "token"
        path.write_text("# of this team\n\n team-north-3b9d51ea70c2\n")
        status, out, err = self.done(show_id, "id", "--registration-token-file", str(path))
        self.assertEqual((status, err), (0, ""))
        path.unlink()
        self.assertEqual(self.done(show_id, "id", "--registration-token-file", str(path)), (0, out, ""))

    def test_file_without_a_registration_token(self) -> None:
        """One line says what is wrong, and does not show what is in the file."""
        path = self.directory / "token"
        for text, expected in (
            (None, "cannot be read: No such file or directory"),
            ("", "must hold one token of 16 to 256 letters"),
            ("short\n", "must hold one token"),
            ("team-north-3b9d51ea70c2\nteam-south-90aa1c44e1f7\n", "must hold one token"),
            ("team-north 3b9d51ea70c2", "must hold one token"),
            ("team-north-3b9d51ea70c\xe9", "must hold one token"),
        ):
            if text is not None:
                path.write_text(text, encoding="latin-1")
            status, out, err = self.done(show_id, "id", "--registration-token-file", str(path))
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))
            self.assertIn(expected, err)
            self.assertNotIn("3b9d51", err)

    def test_two_that_register_at_once_are_one_client(self) -> None:
        """The second one waits for the first, and takes its identity."""
        file = IdentityFile(self.path, URL)
        lock = file.lock()
        assert lock is not None
        second = self.start(show_id, "id")
        self.assertNoResult(second)
        client_id, key, _ = self.server.register()
        file.save(Identity(client_id, key.hex()))
        lock.release()
        self.server.reactor.advance(0.2)
        self.assertEqual(self.successResultOf(second), 0)
        self.assertEqual(self.out.getvalue(), client_id + "\n")

    def test_lock_that_is_kept(self) -> None:
        """After two seconds the command fails, and says how to go on."""
        lock = IdentityFile(self.path, URL).lock()
        assert lock is not None
        self.addCleanup(lock.release)
        ended = self.start(show_id, "id", "--json")
        self.server.reactor.pump([0.1] * 19)
        self.assertNoResult(ended)
        self.server.reactor.advance(0.1)
        self.assertEqual(self.successResultOf(ended), 1)
        [failed] = self.objects()
        self.assertEqual((failed["event"], failed["code"]), ("failed", "identity-in-use"))
        self.assertIn("--identity", failed["reason"])

    def test_lock_is_freed(self) -> None:
        """Also when registering has failed."""
        self.path.parent.mkdir(parents=True)
        with mock.patch("os.replace", side_effect=OSError(28, "No space left on device")):
            status, _, err = self.done(show_id, "id")
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn("No space left", err)
        lock = IdentityFile(self.path, URL).lock()
        assert lock is not None
        lock.release()


class StatusTests(CommandCase):
    """``rendezvous status``."""

    def test_states_of_a_peer(self) -> None:
        """Never seen, online, and late."""
        peer, key, _ = self.server.register()
        self.assertIn("never seen", self.done(show_status, "status", peer)[1])
        self.server.deliver(key)
        self.server.reactor.advance(5)
        self.assertEqual(self.done(show_status, "status", peer), (0, f"{peer} is online: last seen 5 s ago\n", ""))
        self.server.reactor.advance(60)
        status, out, _ = self.done(show_status, "status", peer.upper())
        self.assertEqual(status, 0)
        self.assertIn("offline", out)
        self.assertIn("65 s ago", out)

    def test_json(self) -> None:
        """The server's own words."""
        peer, _, _ = self.server.register()
        self.done(show_status, "status", "--json", peer)
        self.assertEqual(self.objects(), [{"id": peer, "status": "PENDING", "last_online": None}])

    def test_no_such_peer(self) -> None:
        """One line, and status 1."""
        status, out, err = self.done(show_status, "status", "ab" * 16)
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("no such peer is registered", err)
        self.done(show_status, "status", "ab" * 16, "--json")
        self.assertEqual([(found["event"], found["code"]) for found in self.objects()], [("failed", "no-such-peer")])


class EndTests(CommandCase):
    """:func:`finish`."""

    def failure(self, error: BaseException) -> tuple[str, str]:
        """:returns: the code and the reason that a subcommand's error gives."""

        async def fail() -> int:
            raise error

        self.out = io.StringIO()
        work = Deferred.fromCoroutine(finish(fail(), Output(self.out, self.err, json=True)))
        self.assertEqual(self.successResultOf(work), 1)
        [found] = self.objects()
        self.assertEqual(found.pop("event"), "failed")
        return found["code"], found["reason"]

    def test_errors_have_codes(self) -> None:
        """Our own, the server's, and those of a server that gives none."""
        self.assertEqual(self.failure(CommandError("a", "b")), ("a", "b"))
        self.assertEqual(self.failure(ServerUnreachable("no reply"))[0], "server-unreachable")
        self.assertEqual(self.failure(RequestRefused(code="full", server_message="no"))[0], "full")
        self.assertEqual(self.failure(RequestRefused())[0], "failed")

    def test_bug_is_one_line_too(self) -> None:
        """The traceback goes to the log."""
        code, reason = self.failure(ZeroDivisionError("x"))
        self.assertEqual(code, "internal")
        self.assertIn("ZeroDivisionError: x", reason)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_interrupted(self) -> None:
        """Ctrl-C while the command waits."""
        waits: Deferred[int] = Deferred()

        async def wait() -> int:
            return await waits

        work = Deferred.fromCoroutine(finish(wait(), Output(self.out, self.err, json=False)))
        work.cancel()
        self.assertEqual(self.successResultOf(work), 1)
        self.assertEqual((self.out.getvalue(), self.err.getvalue()), ("", "rendezvous: interrupted\n"))


class OutputTests(CommandCase):
    """:class:`Output`."""

    def test_no_control_characters(self) -> None:
        """What a server says cannot move the cursor."""
        Output(self.out, self.err, json=False).failed("x", "a\x1b[2Jb\nc")
        self.assertEqual(self.err.getvalue(), "rendezvous: a [2Jb c\n")

    def test_progress_is_for_terminals(self) -> None:
        """It is shown there only, and gives way to the next line."""
        output = Output(self.out, self.err, json=False)
        output.progress("waiting")
        self.assertEqual(self.err.getvalue(), "")
        self.err.isatty = lambda: True  # type: ignore[method-assign]
        Output(self.out, self.err, json=True).progress("waiting")
        self.assertEqual(self.err.getvalue(), "")
        output.progress("waiting")
        output.warn("done")
        output.warn("and gone")
        self.assertEqual(self.err.getvalue(), f"\r\x1b[Kwaiting\r\x1b[Kdone{os.linesep}and gone\n")
