"""RabbitMQ: one node, with and without TLS, and its management over HTTP."""

import hashlib
import pathlib
import shutil
import signal
import socket
import struct

from .certificates import make_certificates
from .common import Failure, TLS, port_is_free, receive, run, server_env
from .process import ours, wait_until
from .service import Service


def find_program(name, pattern, prefer_pattern=False):
    root = pathlib.Path("/")
    found = [str(path) for path in sorted(root.glob(pattern.lstrip("/")), reverse=True)]
    on_path = [path] if (path := shutil.which(name, path=server_env()["PATH"])) else []
    candidates = found + on_path if prefer_pattern else on_path + found
    if not candidates:
        raise Failure(f"{name} is not installed")
    return candidates[0]


class Rabbit(Service):
    """A broker with a node name, cookie, epmd and directories of its own."""

    user = "rabbitmq"

    @property
    def password(self):
        return self.state.secret("rabbit")

    def epmd_record(self):
        return self.record("epmd")

    def prepare(self):
        for directory in (self.home, self.home / "mnesia", self.home / "log", self.home / "config"):
            self.directory(directory)
        make_certificates()
        for name in ("ca.pem", "server.crt", "server.key"):
            self.file(self.home / name, (TLS / name).read_text())
        self.file(self.home / "rabbitmq.conf",
                  f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlisteners.ssl.1 = 127.0.0.1:{self.state.port('rabbit-tls')}\n"
                  f"ssl_options.cacertfile = {self.home / 'ca.pem'}\nssl_options.certfile = {self.home / 'server.crt'}\n"
                  f"ssl_options.keyfile = {self.home / 'server.key'}\nssl_options.verify = verify_none\ndefault_user = holdfast\ndefault_pass = {self.password}\n"
                  "log.file.level = warning\nlog.console = false\nvm_memory_high_watermark.absolute = 512MB\n"
                  "disk_free_limit.absolute = 50MB\n"
                  f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.state.port('rabbit-management')}\n"
                  "collect_statistics_interval = 1000\n")
        self.file(self.home / "enabled_plugins", "[rabbitmq_management].\n")
        self.file(self.home / "environment", "")
        if not ours(self.epmd_record()):
            port = self.state.port("epmd")
            # Started here and not by the broker: one that starts its own leaves it behind, and nobody knows its pid.
            self.spawn([find_program("epmd", "/usr/lib/erlang/erts-*/bin/epmd"), "-port", port, "-address", "127.0.0.1"],
                       f"-port {port} ", server_env(HOME=str(self.home)), "epmd")
            if not wait_until(lambda: not port_is_free(port), 10):
                raise Failure(f"epmd does not listen on port {port}")

    def node_env(self):
        node = "holdfast-" + hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return server_env(
            HOME=str(self.home), ERL_EPMD_PORT=str(self.state.port("epmd", keep=True)), ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME=f"{node}@localhost", RABBITMQ_DIST_PORT=str(self.state.port("rabbit-dist", keep=True)),
            RABBITMQ_CONF_ENV_FILE=str(self.home / "environment"), RABBITMQ_CONFIG_FILE=str(self.home / "rabbitmq.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(self.home / "advanced.config"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(self.home / "enabled_plugins"),
            RABBITMQ_MNESIA_BASE=str(self.home / "mnesia"), RABBITMQ_LOG_BASE=str(self.home / "log"),
            RABBITMQ_GENERATED_CONFIG_DIR=str(self.home / "config"),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}",
            RUNNING_UNDER_SYSTEMD="true")  # the script then becomes the Erlang machine instead of watching over it

    def launch(self):
        program = find_program("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server", prefer_pattern=True)
        self.state.port("rabbit-dist")
        # The last two words mean nothing to Erlang: they mark the process as this stack's.
        return self.spawn([program, "-holdfast_dev", self.home], self.home, self.node_env())

    def watermark(self, size):
        """Above it the broker raises its memory alarm and takes nothing from publishers."""
        program = find_program("rabbitmqctl", "/usr/lib/rabbitmq/bin/rabbitmqctl", prefer_pattern=True)
        run([program, "-q", "set_vm_memory_high_watermark", "absolute", size], cwd=self.home, env=self.node_env(),
            **self.as_user())

    def ready(self):
        """Logs in as a client would: the listener is up before users can be checked."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
                link.sendall(b"AMQP\x00\x00\x09\x01")
                amqp_frame(link)
                login = b"\0holdfast\0" + self.password.encode()
                method = struct.pack(">HHI", 10, 11, 0) + b"\x05PLAIN" + struct.pack(">I", len(login)) + login + b"\x05en_US"
                link.sendall(struct.pack(">BHI", 1, 0, len(method)) + method + b"\xce")
                return amqp_frame(link)[:4] == struct.pack(">HH", 10, 30)
        except OSError:
            return False

    def stop(self):
        there = super().stop()
        return self.end("epmd", signal.SIGTERM) or there

    def env(self):
        tls = self.state.port("rabbit-tls", keep=True)
        management = self.state.port("rabbit-management", keep=True)
        return {"RABBIT_MANAGEMENT_URL": f"http://127.0.0.1:{management}", "RABBIT_USER": "holdfast", "RABBIT_PASSWORD": self.password,
                "RABBIT_URL": f"amqp://holdfast:{self.password}@127.0.0.1:{self.port}/%2f",
                "RABBIT_TLS_URL": f"amqps://holdfast:{self.password}@localhost:{tls}/%2f"}


def amqp_frame(link):
    _, _, size = struct.unpack(">BHI", receive(link, 7))
    return receive(link, size + 1)
