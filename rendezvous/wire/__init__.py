"""
Bytes to records and back, one module a dialect. Decoders raise :exc:`~rendezvous.errors.WireError` and
nothing else.
"""
