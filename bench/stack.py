"""The servers of the development stack, and what PostgreSQL's own tools need there: the floors of every comparison."""

import os
import pathlib
import re
import subprocess
import time
from dataclasses import dataclass

REPO = pathlib.Path(__file__).resolve().parents[1]


def setting(name):
    value = os.environ.get(f"HOLDFAST_DEV_{name}")
    if not value:
        raise SystemExit("bench: the stack's settings are missing; run it by: make bench")
    return value


@dataclass
class Timed:
    """One run of a tool: wall and CPU seconds, and the CPU seconds of the server behind it."""

    wall: float
    cpu: float
    server_cpu: float
    peak_kib: int


class Target:
    """The PostgreSQL server whose databases are dumped, seen as its superuser."""

    def __init__(self):
        self.host, self.port = setting("TARGET_HOST"), setting("TARGET_PORT")
        self.bin = pathlib.Path(setting("PG_BINDIR"))
        self.env = {**os.environ, "PGHOST": self.host, "PGPORT": self.port, "PGUSER": setting("TARGET_SUPER_USER"),
                    "PGPASSWORD": setting("TARGET_SUPER_PASSWORD"), "PGOPTIONS": "-c client_min_messages=warning", "LC_ALL": "C"}
        self.postmaster = self.find_postmaster()

    def find_postmaster(self):
        """The server's pid: what its ended children used of the CPU is counted there."""
        directory = self.sql("SHOW data_directory")
        return int(pathlib.Path(directory, "postmaster.pid").read_text().split()[0])

    def over(self, tls):
        """How client tools connect: exactly as Holdfast does, so that both sides pay for encryption or neither."""
        if tls == "disable":
            return {**self.env, "PGSSLMODE": "disable"}
        return {**self.env, "PGSSLMODE": "verify-full", "PGSSLROOTCERT": setting("TARGET_CA")}

    def sql(self, text, database="postgres", variables=(), script=None):
        command = [self.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database]
        for name, value in variables:
            command += ["-v", f"{name}={value}"]
        command += ["-f", script] if script else ["-c", text]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: psql failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def drop(self, *names):
        for name in names:
            self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def has(self, name):
        return self.sql(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "1"

    def make_auction(self, name, scale):
        """The demo's auction system, larger. Made under another name first: a run that was ended leaves no half."""
        if not self.has(name):
            self.drop(f"{name}_new")
            self.sql(f'CREATE DATABASE "{name}_new"')
            self.sql("", f"{name}_new", [("SCALE", scale)], REPO / "tests/demo/auction.sql")
            # What would otherwise run in the background of some rounds and not of others.
            self.sql("VACUUM (FREEZE, ANALYZE)", f"{name}_new")
            self.sql(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
        self.sql("CHECKPOINT")

    def make_large(self, name, template, times):
        """`times` as many rows as the template has in its big tables, by copies of them."""
        if self.has(name):
            return
        self.drop(f"{name}_new")
        self.sql(f'CREATE DATABASE "{name}_new" TEMPLATE "{template}"')
        for n in range(1, times):
            for table in ("item", "bid", "event", "sale", "watch", '"User"'):
                self.sql(f'CREATE TABLE auction."{table.strip(chr(34))} {n}" AS TABLE auction.{table}', f"{name}_new")
        self.sql(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')
        self.sql("CHECKPOINT")

    def server_cpu(self):
        return process_cpu(self.postmaster).children

    def run(self, tls, *words, stdout=subprocess.DEVNULL):
        command = [str(word) for word in words]
        before, began = self.server_cpu(), time.monotonic()
        child = subprocess.Popen(command, env=self.over(tls), stdin=subprocess.DEVNULL, stdout=stdout)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"bench: {command[0]} ended with {child.returncode}")
        time.sleep(0.2)  # the backend ends a moment after its client
        return Timed(wall, used.ru_utime + used.ru_stime, self.server_cpu() - before, used.ru_maxrss)

    def floor_dump(self, tls, database):
        """What no dump through pg_dump can be faster than: its output thrown away."""
        return self.run(tls, self.bin / "pg_dump", "-Fc", "-Z0", "-d", database)

    def dump_to(self, tls, database, path):
        return self.run(tls, self.bin / "pg_dump", "-Fc", "-Z0", "-d", database, "-f", path)

    def floor_restore(self, tls, path, database):
        self.sql(f'CREATE DATABASE "{database}" TEMPLATE template0')
        return self.run(tls, self.bin / "pg_restore", "-j1", "--no-owner", "--no-privileges", "-d", database, path)

    def write_file(self, source, into):
        """The same bytes written to the same disk by one writer, to stable storage, and read again: seconds of both."""
        began = time.monotonic()
        with open(source, "rb") as given, open(into, "wb") as file:
            while block := given.read(1 << 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        written = time.monotonic() - began
        began = time.monotonic()
        with open(into, "rb") as file:
            while file.read(1 << 20):
                pass
        read = time.monotonic() - began
        os.unlink(into)
        return written, read

    def version(self):
        return self.sql("SHOW server_version").split()[0]


def write_s3(source):
    """The same bytes put to the same S3 server by curl, as one object, and read again: seconds of both."""
    url = f"{setting('S3_URL')}/{setting('S3_BUCKET')}/floor-{os.getpid()}"
    # The secret goes by a pipe: arguments are visible to everybody on the machine.
    secret = f'user = "{setting("S3_ACCESS_KEY_ID")}:{setting("S3_SECRET_ACCESS_KEY")}"\naws-sigv4 = "aws:amz:us-east-1:s3"\n'
    seconds = []
    for words in (["-T", source], ["-o", "/dev/null"], ["-X", "DELETE"]):
        began = time.monotonic()
        subprocess.run(["curl", "-sS", "--fail", "-K", "-", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *words, url],
                       input=secret, text=True, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - began)
    return tuple(seconds[:2])


@dataclass
class Cpu:
    """CPU seconds of a process, and of those of its children that have ended."""

    own: float
    children: float


def process_cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    user, system, of_user, of_system = (int(field) / ticks for field in fields[11:15])
    return Cpu(user + system, of_user + of_system)


def machine_cpu():
    """CPU seconds that the whole machine has been busy, those that a hypervisor took away included."""
    user, nice, system, _, _, *interrupts_and_steal = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(interrupts_and_steal)) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    """VmHWM: the most memory the process ever had resident."""
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def machine():
    """What a reader has to know to judge the figures."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", info)
    sha = "with" if re.search(r"flags.*\bsha_ni\b", info) else "without"
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 1048576
    return (f"{os.cpu_count()} × {model[1].strip() if model else os.uname().machine} ({sha} SHA instructions), "
            f"{memory:.0f} GiB memory, Linux {os.uname().release.split('-')[0]}")

