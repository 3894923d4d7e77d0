"""Run README's app command in the current environment until the app answers, then stop it: exit status 0 if it did.

A script for continuous integration, not a test: ``python tests/serve_once.py 'pip install … && streamlit run …'``.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


def free_port() -> int:
    """Ask the system for a port nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Tell whether the address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main(command: str, seconds: float = 900) -> int:
    """Start the command in a process group, wait for the health page, stop the group."""
    port = free_port()
    environment = os.environ | {
        "STREAMLIT_SERVER_PORT": str(port),
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_ADDRESS": "127.0.0.1",
    }
    server = subprocess.Popen(command, shell=True, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and server.poll() is None:
            if answers(f"http://127.0.0.1:{port}/_stcore/health"):
                print("the app answers", flush=True)
                return 0
            time.sleep(1)
        print(f"the app did not answer (exit status {server.poll()})", flush=True)
        return 1
    finally:
        os.killpg(server.pid, signal.SIGTERM) if server.poll() is None else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
