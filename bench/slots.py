#!/usr/bin/env python3
"""Measures how late slots of many schedules are, all due in one second and spread over a minute. Part of `bench/run`; alone it
prints its table.

  SCHEDULES=1000 10000   how many there are, one after the other
  SLOT_ROUNDS=3          of each; the worst of them is what is told
"""

import os
import subprocess
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True  # a checkout stays as it is
import report
from holdfast import Holdfast
from report import say
from stack import REPO, Target, setting

# No worker reaches these targets: the jobs stay in the queue, and nothing is dumped.
SEED = """
INSERT INTO servers (id, name, engine, host, port, tls_mode) VALUES (gen_random_uuid(), 'bench', 'postgres', 'nowhere', 1, 'disable');
INSERT INTO credentials (id, name, user_name, sealed_version, key_id, encapped, ciphertext) VALUES (gen_random_uuid(), 'bench', 'u', 1, 'k', '', '');
INSERT INTO services (id, name) VALUES (gen_random_uuid(), 'bench');
INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, stores, worker_group)
SELECT gen_random_uuid(), v.id, s.id, 'target-' || n, 'd', c.id, '{{disk}}', 'elsewhere'
FROM services v, servers s, credentials c, generate_series(1, {schedules}) n;
INSERT INTO schedules (id, name, covers, target_id, service_id, expression, settings, paused_at)
SELECT gen_random_uuid(), name, 'target', id, service_id, '0 0 1 1 *', '{{"overlap": "queue"}}', now() FROM targets;
"""

# Moments of this year only, from `ahead` seconds from now on, over `spread` seconds.
PLAN = """
DELETE FROM schedule_slots;
UPDATE schedules s SET paused_at = NULL, planned_until = clock_timestamp(),
    expression = to_char(n.at AT TIME ZONE 'UTC', 'FMSS FMMI FMHH24 FMDD FMMM *')
FROM (SELECT id, now() + make_interval(secs => {ahead} + (row_number() OVER (ORDER BY id)) % {spread}) AS at FROM schedules) n WHERE n.id = s.id;
"""

LATE = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY late), percentile_cont(0.99) WITHIN GROUP (ORDER BY late), max(late)
FROM (SELECT extract(epoch FROM decided_at - fires_at) AS late FROM schedule_slots WHERE state = 'ran') ran
"""


class Slots:
    """A worker and its database, for each number of schedules anew."""

    def __init__(self, binaries, target):
        self.binaries, self.target = binaries, target
        self.counts = [int(count) for count in (os.environ.get("SCHEDULES") or "1000 10000").split()]
        self.rounds = int(os.environ.get("SLOT_ROUNDS") or 3)

    def measure(self):
        return [found for count in self.counts for found in self.of(count)]

    def of(self, count):
        say(f"Slots of {count:,} schedules")
        holdfast = Holdfast(self.binaries, self.target, f"bench_slots_{os.getpid()}")
        try:
            holdfast.start()
            holdfast.fresh_worker()
            self.sql(holdfast, SEED.format(schedules=count))
            self.sql(holdfast, "VACUUM (ANALYZE)")
            for name, spread in (("in one second", 1), ("over a minute", 60)):
                worst = max((self.round(holdfast, count, spread) for _ in range(self.rounds)), key=lambda found: found["p99_s"])
                yield {"schedules": count, "due": name, **worst}
        finally:
            holdfast.stop()

    def round(self, holdfast, count, spread):
        ahead = 10 + count // 500  # the plan itself takes its time
        self.sql(holdfast, PLAN.format(ahead=ahead, spread=spread))
        deadline = time.monotonic() + ahead + spread + 300
        while time.monotonic() < deadline:
            time.sleep(0.5)
            left = self.sql(holdfast, "SELECT count(*) FROM schedules s WHERE NOT EXISTS"
                                      " (SELECT FROM schedule_slots k WHERE k.schedule_id = s.id AND k.state = 'ran')")
            if left == ["0"]:
                ran, median, high, most = self.sql(holdfast, LATE)[0].split("|")
                say(f"  {ran} slots, late by {float(median):.2f} s (median), {float(high):.2f} s (p99), {float(most):.2f} s (most)")
                return {"ran": int(ran), "median_s": float(median), "p99_s": float(high), "max_s": float(most)}
        raise SystemExit("bench: not every slot was fired")

    def sql(self, holdfast, text):
        url = urllib.parse.urlsplit(setting("META_SUPER_URL"))._replace(path=f"/{holdfast.name}").geturl()
        command = [self.target.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url]
        done = subprocess.run(command, input=text, env=self.target.env, text=True, check=False, capture_output=True)
        if done.returncode:
            raise SystemExit(f"bench: psql failed: {done.stderr.strip()}")
        return done.stdout.split()


def main():
    if len(sys.argv) > 1:
        print(__doc__.strip())
        return
    found = {"slots": Slots(os.environ.get("HOLDFAST_BIN") or REPO / "target/release", Target()).measure()}
    report.columns([report.SLOT_HEADINGS, *report.slot_rows(found)])
    report.columns((what, figure, limit, "yes" if met else "NO") for what, figure, limit, met in report.slot_requirements(found))


if __name__ == "__main__":
    main()
