"""
Walk a newcomer's path on a clean copy: what the README tells to run, run as it stands, in the order of the page.

``python .ci/newcomer.py`` clones this repository's HEAD into a temporary directory. It runs ``make run`` there, then
the quick start's lines for bash and for Python, and the lines for a certificate. It installs the package into an empty
environment with the lines of "Install", runs ``twistd`` there, and lets two copies of the client script find each
other. Only port numbers are replaced. At the end the clone must have no file that git neither knows nor ignores. The
exit status is 0 if all went well.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests._rst import code_blocks  # noqa: E402

HTTP_PORT, UDP_PORT = "15025", "15024"
#: Seconds for what installs packages, and for what does not.
INSTALLING, PATIENCE = 300.0, 30.0


class Process:
    """A program that goes on running, and what it prints."""

    def __init__(self, command: Sequence[str], directory: Path, environment: dict[str, str]) -> None:
        # A group of its own, so that Ctrl-C reaches what make has started, as it does in a terminal.
        self._process = subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(iter(self._process.stdout.readline, ""))

    def expect(self, pattern: str, seconds: float) -> str:
        """:returns: what the group of the pattern matched, once a line has it."""
        late = time.monotonic() + seconds
        while time.monotonic() < late:
            found = re.search(pattern, "".join(self._lines), re.MULTILINE)
            if found:
                return found[1]
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"no line like {pattern!r}; this was printed:\n{''.join(self._lines)}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise SystemExit("Ctrl-C did not end it") from None
        for traced in [line for line in self._lines if line.startswith("Traceback")]:
            raise SystemExit(f"{traced} in:\n{''.join(self._lines)}")


@contextmanager
def running(command: Sequence[str], directory: Path, environment: dict[str, str]) -> Iterator[Process]:
    """Keep a program running for a while; Ctrl-C ends it."""
    process = Process(command, directory, environment)
    try:
        yield process
    finally:
        process.interrupt()


def run(
    command: Sequence[str], directory: Path, environment: dict[str, str], typed: str = "", seconds: float = PATIENCE
) -> str:
    """:returns: what a program printed that must succeed."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        input=typed,
        timeout=seconds,
        capture_output=True,
        text=True,
        check=False,
    )
    # Only programs that install have something to say besides what was asked of them.
    if done.returncode or (done.stderr and seconds < INSTALLING):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{typed}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def with_ports(text: str) -> str:
    """:returns: the text with other ports than the default ones, which may be in use here."""
    return text.replace("5025", HTTP_PORT).replace("5024", UDP_PORT)


def quick_start(clone: Path, blocks: dict[tuple[str, str], list[str]], environment: dict[str, str]) -> None:
    """``make run``, and the lines for a second terminal."""
    [command] = blocks["Quick start", "shell"]
    ports = [f"HTTP_PORT={HTTP_PORT}", f"UDP_PORT={UDP_PORT}"]
    with running([*command.split(), *ports], clone, environment) as server:
        server.expect(rf"UDP on \S+:({UDP_PORT})\b", INSTALLING)
        said = run(["bash", "-eu"], clone, environment, with_ports(blocks["Quick start", "bash"][0]))
        if " 00 00 03 fc\n" not in said or said.count('"ok":true') != 4:
            raise SystemExit(f"the lines for bash printed:\n{said}")
        said = run(["python3", "-"], clone, environment, with_ports(blocks["Quick start", "python"][0]))
        if not said.startswith("1020\n") or said.count("'ok': True") != 4:
            raise SystemExit(f"the lines for Python printed:\n{said}")


def demo(clone: Path, blocks: dict[tuple[str, str], list[str]], environment: dict[str, str]) -> None:
    """The page of the demo, over TLS."""
    certificate, command = blocks["The demo from another machine", "shell"][0].splitlines()
    run(["bash", "-c", f"{certificate} 2>/dev/null"], clone, environment)
    serving = [*shlex.split(command.replace("5443", HTTP_PORT)), f"UDP_PORT={UDP_PORT}"]
    with running(serving, clone, environment) as server:
        server.expect(rf"UDP on \S+:({UDP_PORT})\b", INSTALLING)
        known = ssl.create_default_context(cafile=str(clone / "cert.pem"))
        known.check_hostname = False
        with urlopen(f"https://127.0.0.1:{HTTP_PORT}/demo", context=known, timeout=PATIENCE) as reply:
            if b"<title>Rendezvous demo</title>" not in reply.read():
                raise SystemExit("/demo is not the page of the demo")


def install(clone: Path, home: Path, blocks: dict[tuple[str, str], list[str]], environment: dict[str, str]) -> None:
    """Install into an empty environment, run the daemon's program, and let two clients find each other and connect."""
    venv.create(home / "venv", with_pip=True)
    environment = {**environment, "PATH": f"{home / 'venv' / 'bin'}{os.pathsep}{environment['PATH']}"}
    installing, serving = blocks["Install", "shell"]
    run(["bash", "-eu"], clone, {**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, installing, INSTALLING)
    (home / "peer.py").write_text(with_ports(blocks["A client", "python"][0]), encoding="utf-8")
    ports = [f"--http-port={HTTP_PORT}", f"--udp-port={UDP_PORT}"]
    with running([*serving.split(), *ports], home, environment) as server:
        server.expect(rf"UDP on \S+:({UDP_PORT})\b", PATIENCE)
        with running(["python", "peer.py"], home, environment) as first:
            peer = first.expect(r"^I am ([0-9a-f]{32})$", PATIENCE)
            with running(["python", "peer.py", peer], home, environment) as second:
                second.expect(rf"^{peer} is at (\S+ \d+)$", PATIENCE)
        listen, connect = map(with_ports, blocks["Connect two machines", "bash"])
        with running(["bash", "-c", listen], home, environment) as listener:
            peer = listener.expect(r"^Listening as ([0-9a-f]{32})$", PATIENCE)
            # The command says on stderr what happens, also if all is well.
            run(["bash", "-c", f"({connect.replace('CLIENT_ID', peer)}) 2>&1"], home, environment, "hello\n")
            listener.expect("^(hello)$", PATIENCE)


def main() -> None:
    """Walk the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RENDEZVOUS_", "PYTHON"))}
    with tempfile.TemporaryDirectory(prefix="rendezvous-newcomer-") as name:
        home, clone = Path(name), Path(name, "clone")
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], home, environment)
        blocks: dict[tuple[str, str], list[str]] = {}
        for block in code_blocks((clone / "README.rst").read_text(encoding="utf-8")):
            blocks.setdefault((block.section, block.language), []).append(block.text)
        quick_start(clone, blocks, environment)
        demo(clone, blocks, environment)
        install(clone, home, blocks, environment)
        strange = run(["git", "status", "--short"], clone, environment)
        if strange:
            raise SystemExit(f"the clone has files that git neither knows nor ignores:\n{strange}")
    print("What the README tells to run works on a clean copy.")


if __name__ == "__main__":
    main()
