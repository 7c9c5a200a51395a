"""
A laboratory of real NATs: hosts, routers and a core in network namespaces of Linux, all on this machine.

* :mod:`~tests.natlab.namespaces` makes namespaces, runs programs in them, and removes them however a run ends.
* :mod:`~tests.natlab.bridge` is the core's wire: a bridge with delay, jitter, loss and loss in bursts.
* :mod:`~tests.natlab.rules` has the rules of nftables for each kind of NAT.
* :mod:`~tests.natlab.network` puts sites behind such routers, and hosts into sites.
* :mod:`~tests.natlab.probing` measures mapping, filtering and hairpinning with plain sockets.
* :mod:`~tests.natlab.programs` starts the server, coturn, miniupnpd and the command ``rendezvous`` there.
* :mod:`~tests.natlab.cells` lists the pairs of NATs and what each has to do; :mod:`~tests.natlab.stage` sets one up.
* :mod:`~tests.natlab.measuring` connects the two hosts of a cell again and again, or runs what is in
  :mod:`~tests.natlab.scenarios`; :mod:`~tests.natlab.report` writes the results as tables.

``python -m tests.natlab`` runs it. It needs root; ``CONTRIBUTING.rst`` names Debian's packages.
"""
