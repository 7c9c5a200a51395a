"""The files of ``deploy``: what they say of each other, of the settings, and of the server."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import attrs
import yaml

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from rendezvous.settings import CONFIG, Settings, environment_name, read_settings
from tests._rst import code_blocks
from tests.test_peers_process import require

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = DEPLOY / "compose"

#: Names of the server in the environment.
NAMES = {environment_name(field): field.name for field in attrs.fields(Settings)}


def instructions() -> list[tuple[str, str]]:
    """:returns: the instructions of the Dockerfile, each with its arguments on one line."""
    text = re.sub(r"(?m)^#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8")).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


class SettingsTests(SynchronousTestCase):
    """Settings that the files give are settings of the server."""

    def test_configuration_of_the_unit(self) -> None:
        """Every line is taken, and the unit names the file."""
        path = DEPLOY / "systemd" / "rendezvous.toml"
        settings = read_settings({CONFIG: [str(path)]}, {})
        for name in tomllib.loads(path.read_text("utf-8")):
            self.assertNotEqual(getattr(settings, name), getattr(Settings(), name), name)
        unit = (DEPLOY / "systemd" / "rendezvous.service").read_text("utf-8")
        self.assertIn("--config /etc/rendezvous/rendezvous.toml", unit)

    def test_settings_without_a_proxy(self) -> None:
        """Those that the page for Debian shows, with the key where ``LoadCredential=`` of the page puts it."""
        blocks = code_blocks((DEPLOY.parent / "docs" / "howto" / "debian.rst").read_text("utf-8"))
        [settings] = [block.text for block in blocks if block.language == "toml"]
        [lines] = [block.text for block in blocks if block.language == "ini"]
        path = Path(self.mktemp())
        path.write_text(settings)
        [endpoint] = read_settings({CONFIG: [str(path)]}, {}).http
        credential = re.search(r"(?m)^LoadCredential=([^:]+):(.+)$", lines)
        assert credential is not None, lines
        self.assertIn(f"privateKey=/run/credentials/rendezvous.service/{credential[1]}:", str(endpoint))

    def test_environment_of_the_image(self) -> None:
        """The options in the image's environment exist, and its ports are the server's own."""
        found = dict(instructions())
        names = {word.split("=")[0] for word in shlex.split(found["ENV"]) if word.startswith("RENDEZVOUS_")}
        self.assertLessEqual(names, set(NAMES))
        defaults = Settings()
        udp = {f"{port.number}/udp" for port in defaults.udp_port}
        self.assertEqual(set(found["EXPOSE"].split()), {f"{defaults.http_port}/tcp", *udp})
        self.assertEqual(found["WORKDIR"], found["VOLUME"])


class ComposeTests(SynchronousTestCase):
    """``deploy/compose``."""

    def setUp(self) -> None:
        """Read the services."""
        self.services: dict[str, Any] = self.read("compose.yaml")["services"]

    def read(self, name: str) -> Any:
        """:returns: a file of YAML."""
        return yaml.safe_load((COMPOSE / name).read_text("utf-8"))

    def test_environment_of_the_server(self) -> None:
        """Each variable is a setting, and the server takes all of them together."""
        environ = {
            name: re.sub(r"\$\{[^}]*\}", "turn.example", text)
            for name, text in self.services["rendezvous"]["environment"].items()
        }
        self.assertLessEqual(set(environ), set(NAMES))
        settings = read_settings({}, environ)
        self.assertEqual(len(settings.turn_uri), 2)

    def test_every_service_uses_the_network_of_the_host(self) -> None:
        """And none publishes ports, which would have no meaning then."""
        for name, service in self.services.items():
            self.assertEqual(service["network_mode"], "host", name)
            self.assertNotIn("ports", service, name)

    def test_prometheus_reads_what_the_server_listens_on(self) -> None:
        """With the token that the server has."""
        [job] = self.read("prometheus.yml")["scrape_configs"]
        [target] = job["static_configs"][0]["targets"]
        self.assertEqual(self.services["rendezvous"]["environment"]["RENDEZVOUS_ADMIN"], "tcp:5027:interface=127.0.0.1")
        self.assertEqual(target, "127.0.0.1:5027")
        mounted = {volume.split(":")[1] for volume in self.services["prometheus"]["volumes"]}
        self.assertIn(job["authorization"]["credentials_file"], mounted)

    def test_alerts_and_the_board_are_shown(self) -> None:
        """Prometheus reads the rules beside its configuration, and Grafana the board where its provider looks."""
        places = {
            service: dict(reversed(volume.split(":")[:2]) for volume in self.services[service]["volumes"])
            for service in ("prometheus", "grafana")
        }
        [rules] = self.read("prometheus.yml")["rule_files"]
        self.assertEqual(places["prometheus"][f"/etc/prometheus/{rules}"], "../prometheus/rendezvous.yml")
        self.assertEqual(
            places["grafana"]["/etc/grafana/provisioning/dashboards/rendezvous.yml"], "../grafana/provider.yml"
        )
        [provider] = self.read("../grafana/provider.yml")["providers"]
        self.assertEqual(
            places["grafana"][f"{provider['options']['path']}/rendezvous.json"], "../grafana/rendezvous.json"
        )

    def test_files_of_the_host_are_there_or_made(self) -> None:
        """Those that are made are not committed."""
        mounted = {
            volume.split(":")[0]
            for service in self.services.values()
            for volume in service.get("volumes", ())
            if volume.startswith(".")
        }
        ignored = set((COMPOSE / ".gitignore").read_text().split())
        missing = {name.removeprefix("./") for name in mounted if not (COMPOSE / name).exists()}
        self.assertEqual(missing - ignored, set())

    def test_prepare_makes_the_secrets_once(self) -> None:
        """Each readable by its owner alone, the same for both sides that share one; a second run changes nothing."""
        require(shutil.which("openssl"), "openssl")
        copy = Path(self.mktemp())
        copy.mkdir()
        FilePath(str(COMPOSE / "prepare")).copyTo(FilePath(str(copy / "prepare")))
        # Only root can give a file away.
        (copy / "chown").write_text("#!/bin/sh\n")
        (copy / "chown").chmod(0o755)
        command = ["env", f"PATH={copy.resolve()}:/usr/bin:/bin", "sh", str(copy / "prepare"), "here.example"]
        subprocess.run(command, check=True)
        made = {path.name: path.read_text() for path in copy.iterdir()}
        secrets = set((COMPOSE / ".gitignore").read_text().split())
        self.assertLessEqual(secrets, set(made))
        for name in secrets:
            self.assertEqual((copy / name).stat().st_mode & 0o777, 0o600, name)
        again = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(again.stderr, "")
        self.assertEqual({path.name: path.read_text() for path in copy.iterdir()}, made)
        self.assertEqual(made["admin.token"], made["prometheus.token"])
        self.assertIn(f"static-auth-secret={made['turn.secret']}", made["turnserver.conf"])
        self.assertEqual(made[".env"], "TURN_HOST=here.example\n")

    def test_command_without_a_host_is_refused(self) -> None:
        """Nothing is made."""
        copy = Path(self.mktemp())
        copy.mkdir()
        FilePath(str(COMPOSE / "prepare")).copyTo(FilePath(str(copy / "prepare")))
        done = subprocess.run(["sh", str(copy / "prepare")], capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("give the name of this host", done.stderr)
        self.assertEqual([path.name for path in copy.iterdir()], ["prepare"])


class HealthCheckTests(SynchronousTestCase):
    """The health check of the image."""

    def test_program_compiles(self) -> None:
        """It is one line of Python that asks ``/health``; ``make image`` runs it."""
        [text] = [text for name, text in instructions() if name == "HEALTHCHECK"]
        words: list[str] = yaml.safe_load(text[text.index("[") :])
        self.assertEqual(words[1], "-c")
        compile(words[2], "health", "exec")
        self.assertIn("/health", words[2])
        self.assertTrue(words[0].startswith("/opt/rendezvous/"), sys.executable)
