"""The error tree, which programs at the other end depend on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rendezvous import errors
from rendezvous.errors import Full, NotFound, RendezvousError, TooMany, Unavailable, WireError

#: Status, code and Retry-After of each class. Clients compare these: a change here breaks them.
STABLE = {
    "Conflict": (409, "conflict", None),
    "Forbidden": (403, "forbidden", None),
    "Full": (503, "full", 30),
    "Malformed": (400, "malformed", None),
    "MethodNotAllowed": (405, "method-not-allowed", None),
    "NotFound": (404, "not-found", None),
    "RendezvousError": (500, "internal", None),
    "TooLarge": (413, "too-large", None),
    "HeadersTooLarge": (431, "headers-too-large", None),
    "LineTooLong": (414, "line-too-long", None),
    "RequestTimeout": (408, "request-timeout", None),
    "Unsupported": (501, "unsupported", None),
    "TooMany": (429, "too-many", 30),
    "Unauthorized": (401, "unauthorized", None),
    "Unavailable": (503, "unavailable", 5),
    "UnsupportedMedia": (415, "unsupported-media-type", None),
    "UpgradeRequired": (426, "upgrade-required", None),
}


def tree() -> list[type[RendezvousError]]:
    """:returns: every class of the module that has a status."""
    found = [getattr(errors, name) for name in errors.__all__]
    return [each for each in found if issubclass(each, RendezvousError)]


class ErrorTreeTests(SynchronousTestCase):
    """What each class says of itself."""

    def test_statuses_and_codes_are_stable(self) -> None:
        """Neither changes, and none is added or lost unnoticed."""
        said = {each.__name__: (each.status, each("no").code, each.retry_after) for each in tree()}
        self.assertEqual(said, STABLE)

    def test_every_class_is_listed(self) -> None:
        """No error of the module is missing from its ``__all__``."""
        classes = [each for each in vars(errors).values() if isinstance(each, type)]
        defined = {each.__name__ for each in classes if issubclass(each, Exception)}
        self.assertEqual(defined, set(errors.__all__))

    def test_codes_are_words(self) -> None:
        """Lower case and dashes, a different one for each class."""
        codes = [each.default_code for each in tree()]
        self.assertEqual(len(codes), len(set(codes)))
        for code in codes:
            self.assertRegex(code, r"\A[a-z]+(-[a-z]+)*\Z")

    def test_what_may_be_tried_again_says_when(self) -> None:
        """429 and 503 carry ``Retry-After``, and nothing else does."""
        waiting = {each for each in tree() if each.retry_after is not None}
        self.assertEqual(waiting, {each for each in tree() if each.status in (429, 503)})
        self.assertEqual(waiting, {Full, TooMany, Unavailable})

    def test_message_is_kept_and_shown(self) -> None:
        """The sentence for people is the error's text."""
        error = NotFound("No such peer.")
        self.assertEqual((error.message, str(error), error.code), ("No such peer.", "No such peer.", "not-found"))

    def test_code_may_be_more_precise(self) -> None:
        """One raise site may say more than its class; the status stays, and so does the class."""
        error = NotFound("This peer has no address yet.", code="no-address")
        self.assertEqual((error.status, error.code, NotFound("x").code), (404, "no-address", "not-found"))

    def test_wire_error_is_apart(self) -> None:
        """Bytes that cannot be read are not a request that cannot be served: they have no status."""
        self.assertFalse(issubclass(WireError, RendezvousError))
        self.assertTrue(issubclass(WireError, ValueError))
