"""Decisions only: no I/O, no clock, no Twisted. Time is an argument: ``now`` is server time, in seconds."""
