"""What every part of the development stack shares: its directory, its state, its settings and how it runs commands."""

import hashlib
import json
import os
import pathlib
import random
import secrets
import socket
import subprocess
import threading

REPO = pathlib.Path(__file__).resolve().parents[3]
DEV = pathlib.Path(os.environ.get("HOLDFAST_DEV_DIR") or REPO / ".dev").resolve()
LOGS = DEV / "log"
TLS = DEV / "tls"
ROOT = os.geteuid() == 0


class Failure(Exception):
    """Something that the person at the terminal can act on; printed without a traceback."""


class State:
    """Ports, passwords and pids, kept in .dev/state.json (0600) so that every call sees the same stack."""

    def __init__(self):
        self.path = DEV / "state.json"
        self.lock = threading.RLock()
        self.data = json.loads(self.path.read_text()) if self.path.exists() else {}

    def part(self, name):
        return self.data.setdefault(name, {})

    def save(self):
        with self.lock:
            write_private(self.path, json.dumps(self.data, indent=1))

    def secret(self, name, tail=""):
        with self.lock:
            if name not in self.part("secrets"):
                self.part("secrets")[name] = secrets.token_hex(12) + tail
                self.save()
            return self.part("secrets")[name]

    def port(self, name, keep=False):
        """The port of `name`; a new one where it has none yet, or (unless `keep`) where a stranger took it meanwhile."""
        with self.lock:
            ports = self.part("ports")
            if name not in ports or (not keep and not port_is_free(ports[name])):
                ports[name] = free_port(set(ports.values()))
                self.save()
            return ports[name]


def write_private(path, text):
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(taken):
    # Below the ephemeral range: no outgoing connection can take the port while its server is down.
    for port in random.SystemRandom().sample(range(15000, 32000), 500):
        if port not in taken and port_is_free(port):
            return port
    raise Failure("no free port between 15000 and 32000 on 127.0.0.1")


def say(text):
    print(text, flush=True)


def run(command, **options):
    """Runs a command to its end; its output is shown only if it fails."""
    options = {"stdin": subprocess.DEVNULL} | options if "input" not in options else options
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        shown = " ".join(str(word) for word in command[:3])
        raise Failure(f"`{shown} ...` ended with {done.returncode}:\n{done.stdout.strip()[-4000:]}")
    return done.stdout


def server_env(**more):
    """An environment without the caller's PG*, RABBITMQ_* and ERL_* settings."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin", "LANG": "C.UTF-8", **more}


def servers_dir(state):
    """Where the servers keep their data: .dev/, unless the accounts that they run under cannot reach it."""
    return pathlib.Path(state.data.get("servers_dir") or DEV)


def choose_servers_dir(state):
    if not ROOT or state.data.get("servers_dir"):
        return
    reached = subprocess.run(["test", "-x", DEV], user="postgres", group="postgres", extra_groups=[], check=False)
    chosen = DEV
    if reached.returncode:
        chosen = pathlib.Path("/var/lib") / f"holdfast-dev-{hashlib.sha256(str(DEV).encode()).hexdigest()[:12]}"
        chosen.mkdir(mode=0o755, exist_ok=True)
        say(f"up: account postgres cannot reach {DEV}; the servers' data goes to {chosen}")
    state.data["servers_dir"] = str(chosen)
    state.save()


def receive(link, size):
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data
