"""
Makes ``twistd`` list ``rendezvous``.

Twisted imports this module whenever it lists plugins, so it imports nothing of ours: the service is named as a string.
"""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "Rendezvous",
    "rendezvous.tap",
    "A rendezvous server: peers that cannot see each other find each other through it.",
    "rendezvous",
)
