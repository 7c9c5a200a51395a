"""``rendezvous doctor`` in the NAT laboratory: it names each NAT, and what stands in the way."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests._natlab_case import NatlabCase
from tests.natlab.programs import URL, Programs
from tests.real_server import CHECKOUT, environment
from tests.test_command_process import COMMAND

#: Kinds of NAT of the laboratory, and what the doctor calls their mapping. With one address of the server, an
#: address-dependent one looks endpoint-independent.
KINDS = {
    "port-restricted": "endpoint-independent",
    "random-port": "endpoint-independent",
    "linux-naive": "endpoint-independent",
    "address-mapping": "endpoint-independent",
    "sequential": "sequential",
    "symmetric": "endpoint-dependent",
    "blocked": "blocked",
}


class LaboratoryCase(NatlabCase):
    """A real server in the core, and the real command."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="rvlab-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.started = Programs(self.network, self.directory)
        self.started.server()
        self.site = self.network.site("a", "port-restricted")
        self.network.host("host-a", self.site)

    def doctor(self, host: str) -> Any:
        """:returns: the findings on a host."""
        process = self.network.namespaces.start(
            host,
            *self.started.with_names(host),
            *COMMAND,
            "doctor",
            "--json",
            "--server",
            URL,
            cwd=CHECKOUT,
            env={**environment(), "XDG_CONFIG_HOME": str(self.directory / host)},
        )
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, out)
        return json.loads(out)


class KindTests(LaboratoryCase):
    """Real NATs."""

    def test_kinds_of_nat(self) -> None:
        """Each is called by its name, and none is found on a public host."""
        found = {}
        for kind in KINDS:
            self.network.set_nat(self.site, kind)
            self.network.forget(self.site)
            found[kind] = self.doctor("host-a")["ipv4"]["mapping"]
        self.assertEqual(found, KINDS)
        self.network.host("host-b", self.network.site("b", "public"))
        self.assertEqual(self.doctor("host-b")["ipv4"]["mapping"], "none")


class RouterTests(LaboratoryCase):
    """A real router that maps ports."""

    programs = ("miniupnpd",)

    def test_port_mapping(self) -> None:
        """It is on the address that the server sees, and is removed at the end."""
        self.started.port_mapping(self.site)
        found = self.doctor("host-a")["ipv4"]
        host, _, _ = found["port_mapping"]["mapped"].rpartition(":")
        self.assertEqual({address.rpartition(":")[0] for address in found["public"]}, {host})
        self.assertEqual((found["port_mapping"]["external_address"], found["double_nat"]), (host, False))
        self.assertNotIn(
            "dnat", self.network.namespaces.run(self.site.name, "nft", "list", "table", "inet", "miniupnpd")
        )

    def test_double_nat(self) -> None:
        """A router behind the NAT of a carrier maps ports that do not help."""
        site = self.network.site("c", "port-restricted", behind=self.network.carrier("carrier", "port-restricted"))
        self.network.host("host-c", site)
        self.started.port_mapping(site)
        found = self.doctor("host-c")
        self.assertTrue(found["ipv4"]["double_nat"], found)
        self.assertEqual(found["ipv4"]["mapping"], "endpoint-independent")
