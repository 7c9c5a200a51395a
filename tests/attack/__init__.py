"""
Attacks on a real server, each beside an innocent client that measures what it is served meanwhile.

* :mod:`~tests.attack.innocent` is that client; :mod:`~tests.attack.run` runs an attack beside it and judges the result.
* :mod:`~tests.attack.load` makes the load; :mod:`~tests.attack.shim` makes a disk slow or full, and sets the clock.
* :mod:`~tests.attack.field` has what an attack gets, and the table of attacks; the other modules fill that table.

``python -m tests.attack --list`` names the attacks.
"""
