"""A server in memory with a port for operators."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rendezvous.operator import service
from rendezvous.operator.routes import admin_routes
from rendezvous.testing import Connection, MemoryReactor, MemoryServer, Response
from rendezvous.web.route import Route

__all__ = ["TOKEN", "OperatorCase", "table_of"]

TOKEN = "a-token-of-operators-for-tests-0123456789"


def table_of(case: SynchronousTestCase) -> list[Route]:
    """:returns: a list that is filled with the routes of the next port for operators that a test makes."""
    found: list[Route] = []

    def made(*parts: Any) -> list[Route]:
        found.extend(admin_routes(*parts))
        return found

    case.patch(service, "admin_routes", made)
    return found


class OperatorCase(SynchronousTestCase):
    """
    A server with a port for operators.

    :ivar routes: all routes of the port.
    """

    def setUp(self) -> None:
        """Start it."""
        path = self.mktemp()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        self.routes = table_of(self)
        self.server = MemoryServer(MemoryReactor(), admin="tcp:5027:interface=127.0.0.1", admin_token_file=path)
        self.addCleanup(self.server.stop)
        _, self.port = self.server.reactor.tcp_ports

    def open(
        self, method: str, path: str, body: Any = None, authorization: str | None = f"Bearer {TOKEN}"
    ) -> Connection:
        """:returns: a connection to the port of operators, with a request on it that is not awaited."""
        connection = Connection(self.port.factory, ("127.0.0.1", 40000))
        self.addCleanup(connection.lose)
        headers = {"Host": "127.0.0.1:5027"}
        data = b""
        if authorization is not None:
            headers["Authorization"] = authorization
        if body is not None:
            data = json.dumps(body).encode("ascii")
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        connection.request(method, path, headers, data)
        self.server.reactor.advance(0)
        return connection

    def ask(self, method: str, path: str, body: Any = None, authorization: str | None = f"Bearer {TOKEN}") -> Response:
        """:returns: the answer of the port of operators."""
        connection = self.open(method, path, body, authorization)
        response = connection.response()
        assert response is not None, "the request was not answered at once"
        connection.lose()
        return response

    def get(self, path: str) -> Any:
        """:returns: the JSON of an answer."""
        response = self.ask("GET", path)
        self.assertEqual(response.status, 200, response.body)
        return response.json()
