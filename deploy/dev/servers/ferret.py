"""FerretDB: another MongoDB-wire server, in Go over SQLite, with what the one in Java lacks: users, TLS, capped collections."""

import ssl
import socket

from .certificates import make_certificates
from .common import TLS, server_env
from .go import Program
from .service import Service

# It tells clients its version, which a build from the module alone does not know.
VERSION = {"build/version/version.txt": "v1.24.0\n"}
# A client that says `skipEmptyExchange` is done after its proof, as with mongod; FerretDB wants an empty message of it, which
# the driver for Rust does not send. (MongoDB's specification of authentication, "SCRAM": "skipEmptyExchange".)
LAST = """	return must.NotFail(types.NewDocument(
		"conversationId", int32(1),
		"done", %s
"""
EMPTY_EXCHANGE = (
    "internal/handler/msg_saslcontinue.go",
    LAST % "valid, // for compatibility, assign the validity of the conversation before [Step] was called",
    "	if conv.Valid() {\n		conninfo.Get(connCtx).SetBypassBackendAuth()\n	}\n\n" + LAST % "conv.Valid(),")
# Every definition of an index that a server lists says so, and this server then refuses it.
INDEX_VERSION = ("internal/handler/msg_createindexes.go", 'case "background":', 'case "background", "v":')
FERRETDB = Program("ferretdb", "1.24.0", "github.com/FerretDB/FerretDB", "cmd/ferretdb", VERSION, [EMPTY_EXCHANGE, INDEX_VERSION], "-2")
USER = "holdfast"


class Ferret(Service):
    """Listens twice: plain, as the only member of replica set `holdfast`, and with TLS. Nobody may do anything without a login."""

    @property
    def tls_port(self):
        return self.state.port(f"{self.name}_tls", keep=True)

    @property
    def password(self):
        # What a URL has to escape.
        return self.state.secret("ferret", ":/?#@% ")

    def prepare(self):
        FERRETDB.install()
        make_certificates()
        self.state.port(f"{self.name}_tls")
        self.directory(self.home / "data")

    def launch(self):
        # The password by the environment: arguments are readable to everyone.
        env = server_env(HOME=str(self.home), FERRETDB_SETUP_PASSWORD=self.password)
        return self.spawn([FERRETDB.path, f"--listen-addr=127.0.0.1:{self.port}", f"--listen-tls=127.0.0.1:{self.tls_port}",
                           f"--listen-tls-cert-file={TLS / 'server.crt'}", f"--listen-tls-key-file={TLS / 'server.key'}",
                           "--repl-set-name=holdfast", "--handler=sqlite", f"--sqlite-url=file:{self.home / 'data'}/",
                           f"--state-dir={self.home / 'data'}", "--debug-addr=-", "--telemetry=disable", "--log-level=WARN",
                           "--test-enable-new-auth", "--setup-database=admin", f"--setup-username={USER}"], self.home / "data", env)

    def ready(self):
        context = ssl.create_default_context(cafile=TLS / "ca.pem")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2), \
                    socket.create_connection(("127.0.0.1", self.tls_port), timeout=2) as link, \
                    context.wrap_socket(link, server_hostname="127.0.0.1"):
                return True
        except OSError:
            return False

    def env(self):
        return {"FERRET_HOST": "127.0.0.1", "FERRET_PORT": str(self.port), "FERRET_TLS_PORT": str(self.tls_port),
                "FERRET_USER": USER, "FERRET_PASSWORD": self.password}
