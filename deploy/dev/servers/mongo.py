"""The MongoDB-wire server, built from two jars and two Java files, and pymongo."""

import hashlib
import shutil
import socket
import struct
import sys

from .common import REPO, receive, run, server_env

from .service import Service


class Mongo(Service):
    """A MongoDB-wire server in Java (no registry carries mongod): for development, not a mongod. Views and time series are imitated (ADR 37)."""

    @property
    def python(self):
        return self.home / "python-4.10.1"

    def prepare(self):
        self.prepare_python()
        source = REPO / "deploy/dev/mongo"
        sources = [source / "Main.java", source / "Views.java"]
        parts = (part.read_bytes() for part in (source / "pom.xml", *sources))
        stamp = hashlib.sha256(b"".join(parts)).hexdigest()
        built = self.home / "built"
        if built.exists() and built.read_text() == stamp:
            return
        for part in ("lib", "classes"):
            shutil.rmtree(self.home / part, ignore_errors=True)
        run(["mvn", "-q", "-B", "-f", source / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime",
             f"-DoutputDirectory={self.home / 'lib'}"])
        # The compiler comes with the jars, so that a JRE is enough.
        run(["java", "-cp", f"{self.home / 'lib'}/*", "org.eclipse.jdt.internal.compiler.batch.Main", "-11", "-nowarn",
             "-cp", ":".join(str(jar) for jar in sorted((self.home / "lib").glob("*.jar"))), "-d", self.home / "classes",
             *sources])
        built.write_text(stamp)

    def prepare_python(self):
        """pymongo's `bson`, with which tests/tools/archive.py reads archives: not a line of it is ours."""
        if not self.python.exists():
            unpacked = self.python.with_name("python.new")
            shutil.rmtree(unpacked, ignore_errors=True)
            run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check",
                 "--target", str(unpacked), "pymongo==4.10.1"])
            unpacked.rename(self.python)

    def launch(self):
        return self.spawn(["java", "-Xmx4g", "-cp", f"{self.home}/classes:{self.home}/lib/*", "Main", self.port,
                           self.home / "data.mv"], self.home, server_env(HOME=str(self.home)))

    def ready(self):
        # This server does not know `hello`, nor do the drivers ask for it first.
        body = b"\x10isMaster\0" + struct.pack("<i", 1) + b"\x02$db\0" + struct.pack("<i", 6) + b"admin\0\0"
        message = struct.pack("<IB", 0, 0) + struct.pack("<i", len(body) + 4) + body
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
                link.sendall(struct.pack("<iiii", len(message) + 16, 1, 0, 2013) + message)
                size = struct.unpack("<i", receive(link, 4))[0]
                return b"\x10maxWireVersion\0" + struct.pack("<i", 13) in receive(link, size - 4)
        except OSError:
            return False

    def env(self):
        return {"MONGO_URL": f"mongodb://127.0.0.1:{self.port}/", "MONGO_PYTHON": str(self.python)}
