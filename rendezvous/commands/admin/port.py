"""Requests to the port for operators."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from rendezvous.commands.admin.errors import OperatorError, Unreachable

__all__ = ["Port", "read_token"]

#: Seconds in which the server must say something. A stream of updates says something every 5 s.
PATIENCE = 30.0

#: Bytes of an answer that are read at most: a page of clients has at most 200 KB.
MAX_ANSWER = 16 * 1024 * 1024

#: Characters of one line of a stream that are read at most.
MAX_LINE = 1024 * 1024

#: The code of a rendezvous server for a path that it does not have, as on its public ports.
_NO_PATH = "no-such-path"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,256}")


class Port:
    """
    The port for operators of one server.

    :param url: where it is, such as ``http://127.0.0.1:5027``; a path is kept, for a server behind a proxy.
    :param token: opens it.
    :param operator: who the server's log names; left out if it is no name that the server takes.
    :param ca_file: certificates to trust beside those of the system, for ``https:``; empty for none.
    :raises OperatorError: the URL or the file cannot be used.
    """

    def __init__(self, url: str, token: str, operator: str = "", ca_file: str = "") -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise OperatorError(f"--admin must be a URL such as http://127.0.0.1:5027, not {url!r}")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._host, self._port, self._base = host, port, parts.path.rstrip("/")
        self._tls = _tls(ca_file) if parts.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {token}"}
        if _NAME.fullmatch(operator):
            self._headers["Rendezvous-Operator"] = operator

    def get(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """
        Read something.

        :param query: parameters; those that are ``None`` or empty are left out.
        :returns: the JSON object of the answer.
        :raises OperatorError: it was refused, or the server cannot be reached.
        """
        return self._json("GET", path, query)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Change something; see :meth:`get`."""
        return self._json("POST", path, None, json.dumps(body or {}).encode("ascii"))

    def delete(self, path: str) -> dict[str, Any]:
        """End something; see :meth:`get`."""
        return self._json("DELETE", path, None)

    def updates(self, after: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """
        Read the stream of updates until the server ends it.

        :param after: the number of the last line of the log that is known; ``None`` for only those that come.
        :returns: yields events and their data.
        :raises OperatorError: it was refused.
        :raises Unreachable: the server cannot be reached, or is silent.
        """
        connection, answer = self._send("GET", "/updates", {"after": after}, None)
        event = ""
        try:
            while line := answer.readline(MAX_LINE):
                name, _, value = line.rstrip(b"\r\n").partition(b": ")
                if name == b"event":
                    event = value.decode("ascii", "replace")
                elif name == b"data":
                    yield event, _object(value)
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(f"the server at {self.url} does not answer any more: {_why(e)}") from None
        finally:
            connection.close()

    def _json(
        self, method: str, path: str, query: Mapping[str, object] | None, body: bytes | None = None
    ) -> dict[str, Any]:
        connection, answer = self._send(method, path, query, body)
        try:
            data = answer.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(f"the answer of {self.url} is not whole: {_why(e)}") from None
        finally:
            connection.close()
        return _object(data)

    def _send(
        self, method: str, path: str, query: Mapping[str, object] | None, body: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        target = f"{self._base}{path}" + (f"?{urlencode(given)}" if given else "")
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        connection = self._connection()
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            if answer.status >= 300:
                raise _refusal(self.url, answer.status, answer.read(65536))
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            refused = "; does it run with --admin, at this address?" if isinstance(e, ConnectionRefusedError) else ""
            raise Unreachable(f"the server at {self.url} cannot be reached: {_why(e)}{refused}") from None
        except OperatorError:
            connection.close()
            raise
        return connection, answer

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        return http.client.HTTPSConnection(self._host, self._port, timeout=PATIENCE, context=self._tls)


def read_token(path: str) -> str:
    """
    :returns: the token in a file, which the server has made.
    :raises OperatorError: it cannot be read, all users of the machine can read it, or it is no token.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(1024).strip()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as e:
        raise OperatorError(f"the file of the token {path!r} cannot be read: {e.strerror}; see --token-file") from None
    if not _TOKEN.fullmatch(text):
        raise OperatorError(f"the file {path!r} holds no token of operators")
    if mode & 0o007:
        # A copy that was made for a group of operators is right.
        raise OperatorError(f"the file of the token {path!r} can be read by all users: run chmod 600 on it")
    return text


def segment(text: str) -> str:
    """:returns: a text as one part of a path."""
    return quote(text, safe="")


def _tls(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as e:  # What is in the file is no certificate: ssl.SSLError, which is one too.
            raise OperatorError(f"the certificates in {ca_file!r} cannot be read: {_why(e)}") from None
    return context


def _refusal(url: str, status: int, data: bytes) -> OperatorError:
    try:
        said = json.loads(data)
        text = said["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        text = None
    if status == 401:
        return OperatorError(f"{url} refuses the token; see --token-file", "unauthorized")
    if not isinstance(text, str) or said.get("code") == _NO_PATH:
        return OperatorError(f"{url} answers with status {status}: is it the port for operators? See --admin")
    return OperatorError(text.rstrip("."), str(said.get("code", "")))


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OperatorError("the answer is no JSON object: is this the port for operators?")
    return found


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it is silent"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); see --ca-file"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
