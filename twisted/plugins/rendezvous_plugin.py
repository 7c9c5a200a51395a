"""Tells twistd of the server; imports nothing of it."""

from twisted.application.service import ServiceMaker

rendezvous = ServiceMaker("Rendezvous", "rendezvous.tap", "A rendezvous server for peers behind NATs.", "rendezvous")
