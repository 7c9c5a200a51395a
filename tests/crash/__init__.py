"""
Rounds of load, ``kill -9``, restart, and a comparison with what had been acknowledged.

:mod:`~tests.crash.server` is the process, :mod:`~tests.crash.wire` how it is talked to, :mod:`~tests.crash.pair` two
clients that remember what they were told, and :mod:`~tests.crash.rounds` the loop. :mod:`~tests.crash.fleet` and
:mod:`~tests.crash.crowd` do the same with many clients that only pulse.
"""
