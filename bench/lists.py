#!/usr/bin/env python3
"""Measures the API over a million saves: each list's first pages, how much it takes in and gives out. Part of `bench/run`;
alone it prints its table.

  SAVES=1000000     saves that are there already, and a fifth as many ended jobs
  API_SECONDS=10    of the enqueue rate and of the read rate
  MIXED_SECONDS=60  of the 300 mixed requests a second
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.parse

sys.dont_write_bytecode = True  # a checkout stays as it is
import report
from holdfast import Holdfast
from report import say
from stack import REPO, Target, setting

SERVICES, TARGETS_OF_EACH = 50, 10

# Ids grow with time, as Holdfast's own do. Triggers and foreign keys are left out for the speed of it; the totals follow.
SEED = """
SET session_replication_role = replica;
INSERT INTO servers (id, name, engine, host, port, tls_mode) VALUES (gen_random_uuid(), 'bench', 'postgres', 'nowhere', 1, 'disable');
INSERT INTO credentials (id, name, user_name, sealed_version, key_id, encapped, ciphertext) VALUES (gen_random_uuid(), 'bench', 'u', 1, 'k', '', '');
INSERT INTO services (id, name) SELECT gen_random_uuid(), 'service-' || lpad(n::text, 3, '0') FROM generate_series(1, {services}) n;
INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, stores, worker_group, last_version)
SELECT gen_random_uuid(), s.id, (SELECT id FROM servers), 'target-' || n, 'd', (SELECT id FROM credentials), '{{disk}}', 'elsewhere', {saves}
FROM services s, generate_series(1, {each}) n;
CREATE TEMP TABLE place AS SELECT row_number() OVER (ORDER BY id) - 1 AS place, id, service_id FROM targets;
CREATE FUNCTION pg_temp.id(ms bigint) RETURNS uuid LANGUAGE sql AS
$$ SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(r, 1, 3) || '8' || substr(r, 4, 15))::uuid FROM (SELECT md5(random()::text) AS r) one $$;
INSERT INTO saves (id, target_id, service_id, version, state, scope, origin, mode, required_copies, manifest, available_at, valid, suspicious,
    pinned, raw_bytes, stored_bytes, created_at)
SELECT pg_temp.id(extract(epoch FROM at)::bigint * 1000), p.id, p.service_id, n / {targets} + 1,
    CASE WHEN n % 211 = 0 THEN 'failed' WHEN n % 3 = 0 THEN 'deleted' ELSE 'available' END, 'full',
    CASE WHEN n % 97 = 0 THEN 'manual' ELSE 'schedule' END, 'all', 1, '{{}}', at, n % 307 <> 0, n % 1009 = 0, n % 2003 = 0, 1000000, 100000, at
FROM (SELECT n, now() - make_interval(secs => 10.0 * ({saves} - n)) AS at FROM generate_series(0, {saves} - 1) n) one
JOIN place p ON p.place = one.n % {targets};
INSERT INTO jobs (id, kind, state, payload, service_id, target_id, worker_group, created_at, started_at, finished_at, attempt)
SELECT pg_temp.id(extract(epoch FROM at)::bigint * 1000), CASE WHEN n % 50 = 0 THEN 'restore' ELSE 'backup' END,
    CASE WHEN n % 211 = 0 THEN 'failed' ELSE 'succeeded' END, '{{}}', p.service_id, p.id, 'elsewhere', at, at, at, 1
FROM (SELECT n, now() - make_interval(secs => 50.0 * ({saves} / 5 - n)) AS at FROM generate_series(0, {saves} / 5 - 1) n) one
JOIN place p ON p.place = one.n % {targets};
INSERT INTO save_counts (service_id, target_id, state, valid, suspicious, saves, stored_bytes, settled)
SELECT service_id, target_id, state, valid, suspicious, count(*), coalesce(sum(stored_bytes), 0), true FROM saves GROUP BY 1, 2, 3, 4, 5;
INSERT INTO job_counts (service_id, target_id, kind, state, jobs, settled)
SELECT service_id, target_id, kind, state, count(*), true FROM jobs GROUP BY 1, 2, 3, 4;
"""


def number(name, default):
    return int(os.environ.get(name) or default)


def get(label, path):
    return {"label": label, "method": "GET", "path": path}


class Api:
    """An API with a metadata database of its own; no worker reaches its targets: nothing is dumped. What it takes in and answers is
    measured beside PostgreSQL and the client alone, and again beside a worker that is woken for every job and sweeps."""

    def __init__(self, binaries, target):
        self.saves, self.seconds, self.mixed = number("SAVES", 1_000_000), number("API_SECONDS", 10), number("MIXED_SECONDS", 60)
        self.holdfast = Holdfast(binaries, target, f"bench_api_{os.getpid()}")
        self.load = pathlib.Path(binaries, "holdfast-load")

    def measure(self):
        try:
            say(f"The API over {self.saves:,} saves")
            self.holdfast.start()
            self.seed()
            found = {"saves": self.saves}
            self.send(self.enqueues(), 16, 3)  # what is written for the first time after a checkpoint is written whole
            found["enqueue"] = self.send(self.enqueues(), 16, self.seconds)
            found["reads"] = self.send(self.reads(), 32, self.seconds)
            self.holdfast.fresh_worker()
            found["lists"] = self.lists()
            found["enqueue beside"] = self.send(self.enqueues(), 16, self.seconds)
            found["reads beside"] = self.send(self.reads(), 32, self.seconds)
            found["mixed"] = self.send(self.mixture(), 64, self.mixed, rate=300)
            return found
        finally:
            self.holdfast.stop()

    def sql(self, text):
        url = urllib.parse.urlsplit(setting("META_SUPER_URL"))._replace(path=f"/{self.holdfast.name}").geturl()
        command = [self.holdfast.target.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url]
        done = subprocess.run(command, input=text, env=self.holdfast.target.env, text=True, check=False, capture_output=True)
        if done.returncode:
            raise SystemExit(f"bench: psql failed: {done.stderr.strip()}")
        return done.stdout.split()

    def seed(self):
        self.sql(SEED.format(saves=self.saves, services=SERVICES, each=TARGETS_OF_EACH, targets=SERVICES * TARGETS_OF_EACH))
        self.sql("VACUUM (ANALYZE)")
        self.services = self.sql("SELECT id FROM services ORDER BY name")
        self.targets = self.sql("SELECT id FROM targets ORDER BY id")

    def send(self, requests, connections, seconds, rate=0):
        self.holdfast.call("GET", "/v1/auth/me")  # a fresh token
        address = urllib.parse.urlsplit((self.holdfast.home / "api.address").read_text().strip()).netloc
        lines = "\n".join([self.holdfast.token, *map(json.dumps, requests)]) + "\n"
        done = subprocess.run([self.load, address, str(connections), str(seconds), str(rate)], input=lines, text=True, check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    # ---- what is asked for ---------------------------------------------------------------------------------------

    def lists(self):
        """The first pages of each list, one request at a time: at least 300 of each kind."""
        some, places = self.services[::7], self.targets[::61]
        kinds = {
            "saves": ["/v1/saves?limit=20"],
            "saves, 100 a page": ["/v1/saves?limit=100"],
            "saves of a service": [f"/v1/saves?service={one}" for one in some],
            "saves of a target": [f"/v1/saves?target={one}" for one in places],
            "saves by state": [f"/v1/saves?state={state}" for state in ("available", "failed", "deleted", "pending")],
            "saves of a service by state": [f"/v1/saves?service={one}&state={state}" for one in some for state in ("available", "failed")],
            "saves that are not valid": ["/v1/saves?valid=false", *(f"/v1/saves?service={one}&valid=false" for one in some)],
            "saves that are valid": ["/v1/saves?valid=true", *(f"/v1/saves?target={one}&valid=true" for one in places)],
            "suspicious saves": ["/v1/saves?suspicious=true", *(f"/v1/saves?service={one}&suspicious=true" for one in some)],
            "pinned saves": ["/v1/saves?pinned=true", *(f"/v1/saves?service={one}&pinned=true" for one in some)],
            "saves by origin": ["/v1/saves?origin=manual", "/v1/saves?origin=import", *(f"/v1/saves?service={one}&origin=manual" for one in some)],
            "jobs": ["/v1/jobs?limit=20"],
            "jobs by state": [f"/v1/jobs?state={state}" for state in ("succeeded", "failed", "queued")],
            "jobs by kind": [f"/v1/jobs?kind={kind}" for kind in ("backup", "restore", "verify")],
            "jobs of a service": [f"/v1/jobs?service={one}" for one in some],
            "jobs of a target": [f"/v1/jobs?target={one}&state=succeeded" for one in places],
        }
        requests = [get(label, f"{path}&sort={sort}&page={page}") for label, paths in kinds.items()
                    for path in paths for sort in ("-created_at", "created_at") for page in (1, 2, 3)]
        requests += [get("save report by service", f"/v1/saves/report?by=service&page={page}&limit=50") for page in (1, 2)] * 3
        requests += [get("save report by target", f"/v1/saves/report?by=target&page={page}&limit=50") for page in (1, 2, 3)] * 2
        # Each kind as often as every other, in turn.
        by_label = {}
        for request in requests:
            by_label.setdefault(request["label"], []).append(request)
        most = max(len(of) for of in by_label.values())
        turn = [of[n % len(of)] for n in range(most) for of in by_label.values()]
        self.send(turn, 1, 3)  # what is read for the first time comes from the disk
        seconds = 10
        while True:
            found = self.send(turn, 1, seconds)
            least = min(one["n"] for one in found["labels"].values())
            if least >= 300 or seconds >= 300:
                return found
            seconds = min(300, round(seconds * 1.15 * 300 / least) + 1)

    def enqueues(self):
        return [{"label": "enqueue", "method": "POST", "path": f"/v1/targets/{one}/backups", "body": {"note": "bench"}} for one in self.targets]

    def reads(self):
        """What is asked for most: how a job stands, and the things around it."""
        jobs = self.sql("SELECT id FROM jobs WHERE state = 'queued' ORDER BY id DESC LIMIT 200")
        saves = self.sql("SELECT id FROM saves WHERE state = 'pending' ORDER BY id DESC LIMIT 200")
        mixed = []
        for n in range(200):
            mixed += [get("a job", f"/v1/jobs/{jobs[n % len(jobs)]}"), get("a save", f"/v1/saves/{saves[n % len(saves)]}"),
                      get("a job", f"/v1/jobs/{jobs[-1 - n % len(jobs)]}"), get("a target", f"/v1/targets/{self.targets[n]}")]
        return mixed

    def mixture(self):
        """Of ten requests one enqueues, three are lists, six read one thing."""
        reads, enqueues = self.reads(), self.enqueues()
        lists = [f"/v1/saves?service={one}&state=available" for one in self.services]
        lists += ["/v1/saves", "/v1/jobs?state=queued", "/v1/jobs", "/v1/saves?state=failed"] * 10
        mixed = []
        for n in range(200):
            mixed.append(enqueues[n])
            mixed += [get("a list", lists[(3 * n + k) % len(lists)]) for k in range(3)]
            mixed += [reads[(6 * n + k) % len(reads)] for k in range(6)]
        return mixed


def main():
    if len(sys.argv) > 1:
        print(__doc__.strip())
        return
    found = {"api": Api(os.environ.get("HOLDFAST_BIN") or REPO / "target/release", Target()).measure()}
    report.columns([report.API_HEADINGS, *report.api_rows(found)])
    report.columns((what, figure, limit, "yes" if met else "NO") for what, figure, limit, met in report.api_requirements(found))


if __name__ == "__main__":
    main()
