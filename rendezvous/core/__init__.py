"""Decisions only: no I/O, no clock, no Twisted. Time is an argument (``now``, seconds since the epoch)."""
