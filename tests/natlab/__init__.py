"""
A laboratory of real NATs: hosts, routers and a core in network namespaces of Linux, all on this machine.

* :mod:`~tests.natlab.namespaces` makes namespaces, runs programs in them, and removes them however a run ends.
* :mod:`~tests.natlab.bridge` is the core's wire: a bridge with delay, jitter, loss and loss in bursts.
* :mod:`~tests.natlab.rules` has the rules of nftables for each kind of NAT.
* :mod:`~tests.natlab.network` puts sites behind such routers, and hosts into sites.
* :mod:`~tests.natlab.probing` measures mapping, filtering and hairpinning with plain sockets.

It needs root and programs of Debian's packages nftables, iproute2, conntrack, ethtool and util-linux.
"""
