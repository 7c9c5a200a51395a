"""The tests: ``trial tests`` runs all of them."""

from hypothesis import settings

# How long an example takes says something about the machine and what else runs on it, and nothing about us.
settings.register_profile("rendezvous", deadline=None)
settings.load_profile("rendezvous")
