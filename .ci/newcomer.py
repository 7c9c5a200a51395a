"""
Walk a newcomer's path on a clean copy: what the README and the tutorials tell to run, run as it stands.

``python .ci/newcomer.py`` clones this repository's HEAD into a temporary directory. It runs ``make run`` there, then
the lines of the first tutorial for bash and for Python, and the lines for a certificate. It installs the package into
an empty environment with the line of the README, runs ``twistd`` there, connects two terminals, and lets two copies of
the tutorial's client script find each other. It installs the server once more as the tutorial for operators does, and
runs that. Only port numbers are replaced. At the end the clone must have no file that git neither knows nor ignores.
The exit status is 0 if all went well.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
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

HTTP_PORT, UDP_PORT, OPERATORS_PORT = "15025", "15024", "15027"
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
    return text.replace("5025", HTTP_PORT).replace("5024", UDP_PORT).replace("5027", OPERATORS_PORT)


class Pages:
    """The blocks of the clone's pages."""

    def __init__(self, clone: Path) -> None:
        self._clone = clone

    def blocks(self, page: str, section: str, language: str) -> list[str]:
        """:returns: the texts of a section's blocks in a language, of which there must be one at least."""
        text = (self._clone / page).read_text(encoding="utf-8")
        found = [each.text for each in code_blocks(text) if (each.section, each.language) == (section, language)]
        if not found:
            raise SystemExit(f"{page} has no block of {language} below {section!r}")
        return found


def first_steps(clone: Path, pages: Pages, environment: dict[str, str]) -> None:
    """``make run``, and the lines for a second terminal."""
    page = "docs/tutorials/first-steps.rst"
    [command] = pages.blocks(page, "First steps", "shell")
    ports = [f"HTTP_PORT={HTTP_PORT}", f"UDP_PORT={UDP_PORT}"]
    with running([*command.split(), *ports], clone, environment) as server:
        server.expect(rf"UDP on \S+:({UDP_PORT})\b", INSTALLING)
        [typed] = pages.blocks(page, "In bash", "bash")
        said = run(["bash", "-eu"], clone, environment, with_ports(typed))
        if " 00 00 03 fc\n" not in said or said.count('"ok":true') != 4:
            raise SystemExit(f"the lines for bash printed:\n{said}")
        [typed] = pages.blocks(page, "In Python", "python")
        said = run(["python3", "-"], clone, environment, with_ports(typed))
        if not said.startswith("1020\n") or said.count("'ok': True") != 4:
            raise SystemExit(f"the lines for Python printed:\n{said}")


def demo(clone: Path, pages: Pages, environment: dict[str, str]) -> None:
    """The page of the demo, over TLS."""
    [block] = pages.blocks("docs/howto/page-over-https.rst", "Try pages from another machine", "shell")
    certificate, command = block.splitlines()
    run(["bash", "-c", f"{certificate} 2>/dev/null"], clone, environment)
    serving = [*shlex.split(command.replace("5443", HTTP_PORT)), f"UDP_PORT={UDP_PORT}"]
    with running(serving, clone, environment) as server:
        server.expect(rf"UDP on \S+:({UDP_PORT})\b", INSTALLING)
        known = ssl.create_default_context(cafile=str(clone / "cert.pem"))
        known.check_hostname = False
        with urlopen(f"https://127.0.0.1:{HTTP_PORT}/demo", context=known, timeout=PATIENCE) as reply:
            if b"<title>Rendezvous demo</title>" not in reply.read():
                raise SystemExit("/demo is not the page of the demo")


def readme(clone: Path, home: Path, pages: Pages, environment: dict[str, str]) -> None:
    """Install into an empty environment, run the daemon's program, and let two clients find each other and connect."""
    venv.create(home / "venv", with_pip=True)
    environment = {**environment, "PATH": f"{home / 'venv' / 'bin'}{os.pathsep}{environment['PATH']}"}
    [block] = pages.blocks("README.rst", "Start it", "shell")
    installing, serving = block.splitlines()
    run(["bash", "-eu"], clone, {**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, installing, INSTALLING)
    [script] = pages.blocks("docs/tutorials/udp.rst", "Stay online", "python")
    (home / "peer.py").write_text(with_ports(script), encoding="utf-8")
    ports = [f"--http-port={HTTP_PORT}", f"--udp-port={UDP_PORT}"]
    with running([*serving.split(), *ports], home, environment) as server:
        server.expect(rf"UDP on \S+:({UDP_PORT})\b", PATIENCE)
        with running(["python", "peer.py"], home, environment) as first:
            peer = first.expect(r"^I am ([0-9a-f]{32})$", PATIENCE)
            with running(["python", "peer.py", peer], home, environment) as second:
                second.expect(rf"^{peer} is at (\S+ \d+)$", PATIENCE)
        listen, connect = map(with_ports, pages.blocks("README.rst", "See it work", "bash"))
        with running(["bash", "-c", listen], home, environment) as listener:
            peer = listener.expect(r"^Listening as ([0-9a-f]{32})$", PATIENCE)
            # The command says on stderr what happens, also if all is well.
            run(["bash", "-c", f"({connect.replace('CLIENT_ID', peer)}) 2>&1"], home, environment, "hello\n")
            listener.expect("^(hello)$", PATIENCE)


def operator(clone: Path, pages: Pages, environment: dict[str, str]) -> None:
    """The tutorial for operators: an environment of the server's own, and the server in it, with NumPy and over TLS."""
    page = "docs/tutorials/operator.rst"
    [installing] = pages.blocks(page, "Install", "shell")
    run(["bash", "-eu"], clone, {**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, installing, INSTALLING)
    [plain], [secured] = pages.blocks(page, "Run it", "shell"), pages.blocks(page, "Use TLS", "shell")
    serving = [[*plain.split(), f"--http-port={HTTP_PORT}"], secured.replace(":443:", f":{HTTP_PORT}:").split()]
    for command, how in zip(serving, ("HTTP", "HTTPS"), strict=True):
        with running([*command, f"--udp-port={UDP_PORT}"], clone, environment) as server:
            server.expect(rf"({how}) on ", PATIENCE)
            server.expect(rf"UDP on \S+:{UDP_PORT}, (fast path with NumPy|portable path)", PATIENCE)
    [look, ask] = pages.blocks(page, "Look after it", "shell")
    ports = [f"--http-port={HTTP_PORT}", f"--udp-port={UDP_PORT}"]
    with running([*with_ports(look).split(), *ports], clone, environment) as server:
        server.expect(rf"(operators) on 127\.0\.0\.1:{OPERATORS_PORT}", PATIENCE)
        # The server, too, may be started in a shell with this variable.
        environment = {**environment, "RENDEZVOUS_ADMIN_URL": f"http://127.0.0.1:{OPERATORS_PORT}"}
        said = run(["bash", "-eu"], clone, environment, ask)
        if "0 online" not in said or "tables" not in said:
            raise SystemExit(f"{ask.strip()} printed:\n{said}")
    shutil.rmtree(clone / "rendezvous-env")


def main() -> None:
    """Walk the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RENDEZVOUS_", "PYTHON"))}
    with tempfile.TemporaryDirectory(prefix="rendezvous-newcomer-") as name:
        home, clone = Path(name), Path(name, "clone")
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], home, environment)
        pages = Pages(clone)
        first_steps(clone, pages, environment)
        demo(clone, pages, environment)
        readme(clone, home, pages, environment)
        operator(clone, pages, environment)
        strange = run(["git", "status", "--short"], clone, environment)
        if strange:
            raise SystemExit(f"the clone has files that git neither knows nor ignores:\n{strange}")
    print("What the README and the tutorials tell to run works on a clean copy.")


if __name__ == "__main__":
    main()
