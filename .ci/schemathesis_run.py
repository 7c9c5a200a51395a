"""
Try every documented route with schemathesis: no fault of the server, no status or body that ``/openapi.json`` lacks.

``python .ci/schemathesis_run.py [SECONDS]`` starts ``twistd rendezvous`` on free ports of loopback in a temporary
directory, registers two clients, and runs ``schemathesis`` there, as ``schemathesis.toml`` says: the same requests
every time, or new ones for as long as given. The exit status is 0 if it found nothing.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from check_package import PackageError, environment, fetch, require, serving

HERE = Path(__file__).resolve().parent
#: A run that takes longer hangs.
PATIENCE = 300.0


def credential(base: str) -> str:
    """
    Register a client.

    :returns: its credential, in the form that stays good without pulses.
    :raises OSError: if the server does not answer.
    """
    client = fetch(f"{base}/register", "POST")
    return f"{client['client_id']}:{client['private_id']}"


def schemathesis(directory: Path, base: str, seconds: str | None) -> int:
    """
    Run schemathesis against a server.

    :param directory: where it may leave files.
    :param seconds: how long, or ``None`` for the usual number of requests.
    :returns: its exit status.
    :raises subprocess.TimeoutExpired: if it hangs.
    """
    variables = {
        "CI_HOOKS": "schemathesis_hooks",
        "CI_CREDENTIAL": credential(base),
        "CI_LOGOUT_CREDENTIAL": credential(base),
        "PYTHONPATH": str(HERE),
    }
    program = Path(sys.executable).parent / "schemathesis"
    command = [str(program), "--config-file", str(HERE / "schemathesis.toml"), "run", f"{base}/openapi.json"]
    command += ["--url", base, "--no-color", "--warnings", "off"]
    limit = PATIENCE
    if seconds is not None:
        command += ["--max-time", seconds, "--seed", str(random.randrange(2**32))]
        limit += float(seconds)
    return subprocess.run(command, cwd=directory, env={**environment(), **variables}, timeout=limit).returncode


def main(seconds: str | None = None) -> str | None:
    """
    Start a server and have it tried.

    :returns: what is wrong, or ``None``.
    """
    with tempfile.TemporaryDirectory(prefix="rendezvous-") as name:
        directory = Path(name)
        try:
            with serving(directory, Path(sys.executable).parent / "twistd", "--no-source-limits") as (http_port, _):
                status = schemathesis(directory, f"http://127.0.0.1:{http_port}", seconds)
                require(status == 0, f"schemathesis ended with status {status}; what it found is above")
            output = (directory / "output").read_text()
            require("Traceback" not in output, f"the log has a traceback:\n{output}")
        except PackageError as error:
            return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
