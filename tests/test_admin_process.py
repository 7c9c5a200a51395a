"""``rendezvous-admin`` beside a real server."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import urllib.request

from tests._rst import code_blocks
from tests.real_server import environment, real_server
from tests.test_admin import ADMIN, DOCS, FileCase


class RunningServerTests(FileCase):
    """A real server, and the program as operators call it, with the words of the documentation."""

    def shell(self, command: str) -> str:
        """:returns: what a command of the documentation prints in the server's directory."""
        name, *words = shlex.split(command)
        self.assertEqual(name, "rendezvous-admin")
        ended = subprocess.run(
            [*ADMIN, *words], cwd=self.directory, env=environment(), capture_output=True, text=True, timeout=60
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout

    def test_documented_commands_run(self) -> None:
        """All of ``docs/storage.rst``, in its order, while a server runs; then its copy starts and has the client."""
        page = (DOCS / "storage.rst").read_text(encoding="utf-8")
        blocks = [block.text for block in code_blocks(page) if block.language == "shell"]
        commands = [line for text in blocks for line in text.splitlines() if line.startswith("rendezvous-admin ")]
        known = {"check", "backup", "restore", "stats", "rotate-secret"}
        self.assertEqual({shlex.split(line)[1] for line in commands}, known)
        (restore,) = [line for line in commands if shlex.split(line)[1] == "restore"]
        commands.remove(restore)
        with real_server(f"--store=sqlite:{self.path}") as server:
            request = urllib.request.Request(server.url + "/register", method="POST")
            with urllib.request.urlopen(request, timeout=10) as reply:
                client = json.load(reply)
            printed = "".join(self.shell(command) for command in commands)
            self.assertEqual(self.stats()["clients"], 1)
        self.assertNotIn(client["private_id"], printed)
        for rest in self.directory.glob("rendezvous.sqlite3*"):
            rest.rename(self.directory / f"old.{rest.name}")
        self.shell(restore)
        self.assertEqual(self.stats()["clients"], 1)
        self.assertEqual(stat.S_IMODE((self.directory / "backup.sqlite3").stat().st_mode), 0o600)
        secret = f"--secret-file={self.directory / 'rendezvous.secret'}"
        with real_server(f"--store=sqlite:{self.path}", secret) as server:
            headers = {"Authorization": f"Bearer {client['private_id']}"}
            request = urllib.request.Request(server.url + "/logout", method="POST", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as reply:
                self.assertEqual(reply.status, 200)
