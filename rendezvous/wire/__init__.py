"""
Bytes to records and back, one module for each protocol. Decoders raise :exc:`~rendezvous.errors.WireError` and
nothing else.
"""
