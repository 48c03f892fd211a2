"""A Holdfast of its own on the development stack: an API and one worker, driven over HTTP as a client would."""

import contextlib
import datetime
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.parse

from stack import REPO, machine_cpu, peak_mib, process_cpu, setting

ENDED = ("succeeded", "failed", "cancelled")


class Holdfast:
    """Configured under .dev/, with a metadata database of its own: other workers on the stack cannot take its jobs."""

    def __init__(self, binaries, target, name):
        self.bin, self.target, self.name = pathlib.Path(binaries), target, name
        self.home = pathlib.Path(setting("DIR"), name)
        self.processes, self.worker_pid, self.token, self.link = {}, None, "", None

    # ---- its life ----------------------------------------------------------------------------------------------

    def start(self):
        self.make_meta()
        configured = {**os.environ, "HOLDFAST_DEV_APP_DIR": str(self.home), "HOLDFAST_BIN": str(self.bin),
                      "HOLDFAST_DEV_META_OWNER_URL": self.meta_url("META_OWNER_URL"),
                      "HOLDFAST_DEV_META_APP_URL": self.meta_url("META_APP_URL"), "HOLDFAST_DEV_MONGO_DATABASE": self.name}
        subprocess.run([REPO / "deploy/dev/configure"], env=configured, check=True)
        self.add_sealed_store()
        # The limits count, and stop nobody: one admin from one address is all there is.
        limits = {f"HOLDFAST__HTTP__LIMITS__{of}_{bound}": str(most) for of in ("ADDRESS", "ADMIN")
                  for bound, most in (("PER_S", 100_000), ("BURST", 1_000_000))}
        self.spawn("api", "holdfast-api", "--config", self.home / "api.toml", "serve", **limits)
        address = urllib.parse.urlsplit((self.home / "api.address").read_text().strip())
        self.link = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
        self.wait_until_ready()
        password = os.urandom(18).hex()
        subprocess.run([self.bin / "holdfast-api", "--config", self.home / "api.toml", "admin", "create", "--name", "bench"],
                       input=password, text=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.token = self.post("/v1/auth/login", {"name": "bench", "password": password})["access_token"]

    def add_sealed_store(self):
        """`sealed`: as `disk`, but encrypted; the worker has the identity too, so that it could restore."""
        key, root = self.home / "age.key", self.home / "store" / "sealed"
        key.unlink(missing_ok=True)
        subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
        recipient = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
        root.mkdir(parents=True, exist_ok=True)
        with open(self.home / "worker-1.toml", "a") as config:
            config.write(f'\n[stores.sealed]\nkind = "file"\nroot = "{root}"\n\n[stores.sealed.encryption]\n'
                         f'recipients = ["{recipient}"]\nidentity_file = "{key}"\n')

    def spawn(self, name, program, *words, **environment):
        with open(self.home / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([self.bin / program, *words], stdin=subprocess.DEVNULL, stdout=log,
                                                    stderr=log, env={**os.environ, **environment})
        return self.processes[name].pid

    def wait_until_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/readyz", None)[0] == 200:
                    return
            self.link.close()
            time.sleep(0.05)
        raise SystemExit(f"bench: the API is not ready; its log is {self.home / 'api.log'}")

    def fresh_worker(self, level=None):
        """Ends the worker if one runs, and starts another, whose peak memory begins at nothing."""
        self.end("worker")
        settings = {"HOLDFAST__WORKER__ZSTD_LEVEL": str(level)} if level else {}
        log = self.home / "worker.log"
        seen = log.stat().st_size if log.exists() else 0
        self.worker_pid = self.spawn("worker", "holdfast-worker", "--config", self.home / "worker-1.toml", **settings)
        deadline = time.monotonic() + 30
        while "worker started" not in log.read_text(errors="replace")[seen:]:
            if time.monotonic() > deadline or self.processes["worker"].poll() is not None:
                raise SystemExit(f"bench: the worker did not start; its log is {log}")
            time.sleep(0.05)

    def end(self, name):
        process = self.processes.pop(name, None)
        if process:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop(self):
        for name in ("worker", "api"):
            self.end(name)
        self.meta_sql(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        subprocess.run([REPO / "deploy/dev/drop-mongo", self.name], check=True)
        if self.has_s3():
            for part in ("data", "meta", "versions"):
                shutil.rmtree(pathlib.Path(setting("S3_DIR"), part, setting("S3_BUCKET"), self.name), ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    @staticmethod
    def has_s3():
        return bool(os.environ.get("HOLDFAST_DEV_S3_URL"))

    def meta_url(self, role):
        return urllib.parse.urlsplit(setting(role))._replace(path=f"/{self.name}").geturl()

    def meta_sql(self, text):
        command = [self.target.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", setting("META_SUPER_URL"), "-c", text]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=self.target.env)

    def make_meta(self):
        self.meta_sql(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        self.meta_sql(f'CREATE DATABASE "{self.name}" OWNER holdfast_owner')

    # ---- its API -----------------------------------------------------------------------------------------------

    def request(self, method, path, body):
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["content-type"] = "application/json"
        self.link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.link.getresponse()
        return answer.status, answer.read(), answer.getheader("x-access-token")

    def call(self, method, path, body=None):
        status, content, renewed = self.request(method, path, body)
        if status >= 400:
            raise SystemExit(f"bench: {method} {path} answered {status}: {content.decode(errors='replace')}")
        self.token = renewed or self.token
        return json.loads(content)

    def post(self, path, body):
        return self.call("POST", path, body)

    def finished(self, job):
        while job["state"] not in ENDED:
            job = self.call("GET", f"/v1/jobs/{job['id']}?wait=55s")
        if job["state"] != "succeeded":
            raise SystemExit(f"bench: a job did not succeed: {json.dumps(job, indent=1)}")
        return job

    def register(self, database, stores, tls):
        """A target of its own for these stores and this way to connect; returns its id."""
        server = {"engine": "postgres", "host": self.target.host, "port": int(self.target.port), "tls_mode": tls}
        if tls == "verify_full":
            server["tls_ca_pem"] = pathlib.Path(setting("TARGET_CA")).read_text()
        return self.register_on(server, database, stores)

    def register_mongo(self, mongo, database, stores):
        """A target on the stack's MongoDB-wire server, which knows no users."""
        server = {"engine": "mongodb", "host": mongo.host, "port": mongo.port, "tls_mode": "disable", "auth": "none"}
        return self.register_on(server, database, stores)

    def register_on(self, server, database, stores):
        name = f"{'-'.join(stores)}-{server['tls_mode'].replace('_', '-')}-{database.replace('_', '-')}"
        server, credentials = {"name": name, **server}, {}
        for role in ("backup", "restore"):
            credentials[f"{role}_credential_id"] = self.post("/v1/credentials", {
                "name": f"{name}-{role}", "user_name": setting(f"TARGET_{role.upper()}_USER"),
                "password": setting(f"TARGET_{role.upper()}_PASSWORD")})["id"]
        return self.post("/v1/targets", {
            "service_id": self.post("/v1/services", {"name": name})["id"], "server_id": self.post("/v1/servers", server)["id"],
            "name": "main", "database": database, "stores": stores, "required_copies": len(stores), **credentials})["id"]

    # ---- what is measured --------------------------------------------------------------------------------------

    def timed(self, path, body):
        """Posts a job and follows it to its end, with the times and the CPU that it took."""
        before, server = process_cpu(self.worker_pid), self.target.server_cpu()
        busy, began = machine_cpu(), time.monotonic()
        job = self.post(path, body)
        answered = time.monotonic()
        job = self.finished(job)
        busy, ended = machine_cpu() - busy, time.monotonic()
        time.sleep(0.2)  # the backend ends a moment after its client
        after = process_cpu(self.worker_pid)
        ours = after.own - before.own + after.children - before.children + self.target.server_cpu() - server
        return {
            "others": max(0.0, busy - ours) / (ended - began),
            "job": job, "outside": ended - began, "accepted": answered - began,
            "inside": at(job["finished_at"]) - at(job["started_at"]), "queued": at(job["started_at"]) - at(job["created_at"]),
            "worker_cpu": after.own - before.own, "tool_cpu": after.children - before.children,
            "server_cpu": self.target.server_cpu() - server, "peak_mib": peak_mib(self.worker_pid)}

    def backup(self, target):
        return self.timed(f"/v1/targets/{target}/backups", {"note": "bench"})

    def restore(self, save, database, compare="digest"):
        return self.timed(f"/v1/saves/{save}/restore",
                          {"into": {"database": database}, "owner": "none", "privileges": "none", "compare": compare})

    def restore_mongo(self, save, database, compare="digest"):
        return self.timed(f"/v1/saves/{save}/restore", {"into": {"database": database}, "compare": compare})

    def verify(self, save):
        return self.timed(f"/v1/saves/{save}/verify", {})

    def probe(self, target):
        return self.timed(f"/v1/targets/{target}/probe", {})

    def remove_files(self):
        """Frees the disk between rounds: this store belongs to the benchmark."""
        for path in (self.home / "store").rglob("dump.*"):
            path.unlink()


def at(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
