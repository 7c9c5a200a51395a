"""The tests: ``trial tests`` runs all of them."""

import os

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine and what else runs on it, and nothing about us.
# Some cases run once more on the fast path of UDP. An example that failed on one path is then tried on both.
twice = [HealthCheck.differing_executors]
settings.register_profile("explore", deadline=None, suppress_health_check=twice)
# A run that decides about a change tries the same examples each time: what fails is then the fault of the change.
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=twice)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "explore"))
