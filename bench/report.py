"""Figures as a table for the terminal and as docs/performance.md."""

import datetime
import math
import os
import statistics
import subprocess

from stack import REPO, machine

DUMP_LIMIT, ENCRYPTION_LIMIT, MEMORY_LIMIT, LARGE_DOCUMENTS_LIMIT, START_LIMIT = 1.15, 1.15, 64, 160, 0.050


def here_and_now():
    """The revision and the minute, for a part that has been measured."""
    run = lambda *words: subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False).stdout.strip()
    changed = " with changes" if run("git", "status", "--porcelain", "--", ".", ":!docs/performance.md") else ""
    return f"{run('git', 'rev-parse', '--short=10', 'HEAD')}{changed}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def say(text):
    print(text, flush=True)


class Ratio:
    """Rounds of Holdfast against the floor of the same round."""

    def __init__(self, rows):
        self.rows = rows

    def of(self, key="inside"):
        return [done[key] / floor.wall for done, floor in self.rows]

    def median(self, key):
        return statistics.median(done[key] for done, _ in self.rows)

    def floor(self, key):
        return statistics.median(getattr(floor, key) for _, floor in self.rows)

    def result(self, key):
        return self.rows[0][0]["job"]["result"][key]

    def stages(self):
        """(stage, median seconds busy, waiting, on the CPU or None), in the order of the stream."""
        results = [done["job"]["result"]["stages"] for done, _ in self.rows]
        for at, stage in enumerate(results[0]):
            middle = lambda key: statistics.median(result[at][key] for result in results) / 1000
            yield stage["name"], middle("busy_ms"), middle("wait_ms"), middle("cpu_ms") if "cpu_ms" in stage else None


def spread(values, digits=2):
    """min / median / max"""
    return " / ".join(f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def percentile(values, share):
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def verdict(good):
    return "yes" if good else "**no**"


def requirements(found):
    """(what, figure, requirement, met) of everything that must hold."""
    ratios = found["disk"].of()
    yield ("backup to the file store ÷ `pg_dump -Fc -Z0 > /dev/null`, wall, min / median / max", spread(ratios),
           f"median ≤ {DUMP_LIMIT}", statistics.median(ratios) <= DUMP_LIMIT)
    if "encryption" in found:
        yield ("backup to the encrypted file store ÷ the plain one of the same round, wall, min / median / max", spread(found["encryption"]),
               f"median ≤ {ENCRYPTION_LIMIT}", statistics.median(found["encryption"]) <= ENCRYPTION_LIMIT)
    for key, note, limit in (("memory", "", MEMORY_LIMIT), ("memory_large", "", MEMORY_LIMIT),
                             ("memory_1m", ", MongoDB, four collections of 1 MiB documents", MEMORY_LIMIT),
                             ("memory_16m", ", MongoDB, four collections of 16 MiB documents", LARGE_DOCUMENTS_LIMIT)):
        if key in found:
            peak, raw = found[key]["peak_mib"], found[key]["raw"]
            yield (f"peak RSS of a worker with one job, {raw / 1e9:.1f} GB of dump{note}", f"{peak:.0f} MiB",
                   f"≤ {limit} MiB", peak <= limit)
    queued = [1000 * value for value in found["queued"]]
    figure = f"{statistics.median(queued):.0f} / {percentile(queued, 0.95):.0f} / {max(queued):.0f} ms"
    yield (f"enqueue → started, {len(queued)} jobs, median / p95 / max", figure, f"median ≤ {START_LIMIT * 1000:.0f} ms",
           statistics.median(queued) <= 1000 * START_LIMIT)
    yield from api_requirements(found)
    yield from slot_requirements(found)


LIST_LIMIT, ENQUEUE_RATE, READ_RATE, READ_LIMIT, ENQUEUE_LIMIT = 50, 400, 3000, 100, 150
API_HEADINGS = ("part", "request", "requests", "failed", "median ms", "p99 ms", "most ms")


def rate(part):
    """Requests a second that were answered as wished."""
    return sum(one["n"] - one["failed"] for one in part["labels"].values()) / part["seconds"]


API_PARTS = {
    "lists": "lists, one at a time, a worker beside",
    "enqueue": "enqueue, 16 at a time",
    "reads": "reads, 32 at a time",
    "enqueue beside": "enqueue, 16 at a time, a worker beside",
    "reads beside": "reads, 32 at a time, a worker beside",
    "mixed": "300 a second, a worker beside",
}


def api_requirements(found):
    """What must hold of the API, beside its database and its client on the same processors."""
    if "api" not in found:
        return
    api = found["api"]
    slowest, label = max((one["p99_ms"], label) for label, one in api["lists"]["labels"].items())
    yield (f"first pages of every list over {api['saves']:,} saves, each filter and order: the highest p99", f"{slowest:.1f} ms ({label})",
           f"≤ {LIST_LIMIT} ms", slowest <= LIST_LIMIT)
    yield ("backups taken in: API, PostgreSQL and client", f"{rate(api['enqueue']):.0f} /s", f"≥ {ENQUEUE_RATE} /s", rate(api["enqueue"]) >= ENQUEUE_RATE)
    yield ("reads of one thing: API, PostgreSQL and client", f"{rate(api['reads']):.0f} /s", f"≥ {READ_RATE:,} /s", rate(api["reads"]) >= READ_RATE)
    mixed = api["mixed"]["labels"]
    reads, enqueue = max(one["p99_ms"] for label, one in mixed.items() if label != "enqueue"), mixed["enqueue"]["p99_ms"]
    yield ("300 mixed requests a second: the highest p99 of reads and lists", f"{reads:.1f} ms", f"≤ {READ_LIMIT} ms", reads <= READ_LIMIT)
    yield ("300 mixed requests a second: p99 of enqueues", f"{enqueue:.1f} ms", f"≤ {ENQUEUE_LIMIT} ms", enqueue <= ENQUEUE_LIMIT)
    failed = sum(one["failed"] for part in API_PARTS for one in api[part]["labels"].values())
    yield ("requests answered with an error, over all of these", str(failed), "0", failed == 0)


def api_rows(found):
    for key, name in API_PARTS.items():
        for label, one in found["api"][key]["labels"].items():
            yield (name, label, one["n"], one["failed"], f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}", f"{one['max_ms']:.1f}")


SLOT_LIMIT = 2
SLOT_HEADINGS = ("schedules", "due", "slots", "median s", "p99 s", "most s")


def slot_requirements(found):
    """How late slots are, at the worst that a thousand schedules can be."""
    for one in found.get("slots", []):
        if one["schedules"] <= 1000:
            yield (f"slots of {one['schedules']:,} schedules, all due {one['due']}: late by (p99)", f"{one['p99_s']:.2f} s", f"≤ {SLOT_LIMIT} s", one["p99_s"] <= SLOT_LIMIT)


def slot_rows(found):
    for one in found["slots"]:
        yield (f"{one['schedules']:,}", one["due"], f"{one['ran']:,}", f"{one['median_s']:.2f}", f"{one['p99_s']:.2f}", f"{one['max_s']:.2f}")


def comparisons(found):
    """(what, wall ratios, seconds, floor seconds, CPU of worker / tool / server, floor CPU of tool / server)"""
    names = {"disk": "backup, file store", "sealed": "backup, file store, encrypted", "grid": "backup, GridFS", "restore": "restore into a new database",
             "mongo_dump": "MongoDB: backup, file store", "mongo_restore": "MongoDB: restore into a new database"}
    rows = [(name, found[key]) for key, name in names.items() if key in found]
    rows += [(f"backup, file store, zstd level {level}", ratio) for level, ratio in found.get("levels", {}).items()]
    for name, ratio in rows:
        yield (name, f"{ratio.result('raw_bytes') / 1e6:.0f}", spread(ratio.of()), spread(ratio.of("outside")), f"{ratio.median('inside'):.1f}", f"{ratio.floor('wall'):.1f}",
               f"{ratio.median('worker_cpu'):.1f} + {ratio.median('tool_cpu'):.1f} + {ratio.median('server_cpu'):.1f}",
               f"{ratio.floor('cpu'):.1f} + {ratio.floor('server_cpu'):.1f}",
               f"{ratio.result('raw_bytes') / 1e6 / ratio.median('inside'):.0f}", f"{ratio.result('stored_bytes') / 1e6:.0f}")


def store_rows(found):
    """(store, stored MB, MB/s written, of the floor, MB/s verified, of the floor): medians."""
    names = {"disk": "file", "sealed": "file, encrypted", "grid": "GridFS", "cloud": "S3"}
    middle = lambda values: statistics.median(list(values))
    for store, rows in found["stores"].items():
        stored = rows[0][0]["job"]["result"]["stored_bytes"] / 1e6
        busy = middle(next(s["busy_ms"] for s in done["job"]["result"]["stages"] if s["name"] == f"copy:{store}") / 1000 for done, *_ in rows)
        verified = middle(verify["inside"] for _, verify, *_ in rows)
        written, read = (middle(floor[n] for _, _, floor, _ in rows) for n in (0, 1))
        size = rows[0][3] / 1e6
        yield (names[store], f"{stored:.0f}", f"{stored / max(busy, 0.001):.0f}", f"{size / written:.0f}", f"{stored / verified:.0f}", f"{size / read:.0f}")


STORE_HEADINGS = ("store", "stored MB", "MB/s, copy stage busy", "MB/s, floor writing", "MB/s, verify job", "MB/s, floor reading")


HEADINGS = ("what", "raw MB", "ratio by the job's row", "ratio seen by the client", "s", "floor s", "CPU s worker + tool + server",
            "floor CPU s tool + server", "MB/s", "stored MB")


def columns(rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def stage_rows(ratio):
    """The stages, then what else used the processors: the CPU column adds up to the job's."""
    seconds = lambda value: "" if value is None else f"{value:.2f}"
    stages = list(ratio.stages())
    rest = ratio.median("worker_cpu") - sum(cpu for *_, cpu in stages if cpu is not None)
    yield from ((name, seconds(busy), seconds(wait), seconds(cpu)) for name, busy, wait, cpu in stages)
    yield ("the worker besides: pipe, store, runtime", "", "", seconds(max(0.0, rest)))
    yield ("the tool", "", "", seconds(ratio.median("tool_cpu")))
    yield ("the server's backend", "", "", seconds(ratio.median("server_cpu")))


def quiet(found):
    """How many processors were busy with other things during the file store's rounds, and what that means."""
    ratio, processors = found["disk"], os.cpu_count()
    others = ratio.median("others")
    text = f"{others:.2f} of {processors}"
    if others < 0.2 * processors:
        return text
    # The backend is one thread: neither side can be faster than it, nor than all its work on all processors.
    server, tools = ratio.median("server_cpu"), ratio.median("worker_cpu") + ratio.median("tool_cpu")
    job = max(server, (server + tools) / processors)
    floor = max(ratio.floor("server_cpu"), (ratio.floor("server_cpu") + ratio.floor("cpu")) / processors)
    return (f"{text}: the machine was not quiet, and the ratios of wall time are rough. By processor time alone a job needs at "
            f"least {job:.1f} s and its floor {floor:.1f} s")


def terminal(found):
    say("\nRequirements")
    columns((what.replace("`", ""), figure, limit, "yes" if met else "NO") for what, figure, limit, met in requirements(found))
    say(f"\n  processors busy with other work meanwhile: {quiet(found)}")
    say("\nAgainst PostgreSQL's own tools (min / median / max of the rounds' ratios)")
    columns([HEADINGS, *comparisons(found)])
    for key, name in (("disk", "a backup to the file store"), ("sealed", "a backup to the encrypted file store"), ("grid", "a backup to GridFS"), ("restore", "a restore"),
                      ("mongo_dump", "a backup of MongoDB"), ("mongo_restore", "a restore of MongoDB")):
        if key in found:
            say(f"\nStages of {name} (medians)")
            columns([("stage", "busy s", "waiting s", "CPU s"), *stage_rows(found[key])])


    if "stores" in found:
        say("\nStores (medians)")
        columns([STORE_HEADINGS, *store_rows(found)])
    if "api" in found:
        say(f"\nThe API over {found['api']['saves']:,} saves")
        columns([API_HEADINGS, *api_rows(found)])


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def markdown(found):
    run = lambda *words: subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False).stdout.strip()
    measured = "; ".join(f"{part}: {when}" for part, when in found.get("measured", {}).items())
    raw, stored = found["disk"].result("raw_bytes"), found["disk"].result("stored_bytes")
    text = [f"""# Performance

Written by `make bench`; do not edit. What is measured and how: [bench/README.md](../bench/README.md).

| | |
|---|---|
| machine | {machine()} |
| measured | {measured}; release builds |
| versions | PostgreSQL {found['server']}; {run('rustc', '--version').split(' (')[0]} |
| command | `make bench SCALE={found['scale']} ROUNDS={found['rounds']} TLS={found['tls']}{' PARTS="… large"' if 'memory_large' in found else ''}` |
| data | the demo's auction system: {raw / 1e6:.0f} MB of dump, {stored / 1e6:.0f} MB stored |

All servers, the worker and the tools share the machine's processors. Busy with other work during the file store's rounds
(median): {quiet(found)}.

## Requirements
"""]
    rows = [(what, figure, limit, verdict(met)) for what, figure, limit, met in requirements(found)]
    text.append(table(("what", "measured", "requirement", "met"), rows))
    accepted = [1000 * value for value in found["accepted"]]
    followed = [1000 * value for value in found["followed"]]
    text.append(f"""
The client of those jobs had its `202` after {statistics.median(accepted):.0f} ms and the ended job after {statistics.median(followed):.0f} ms (medians).
""")
    if "memory_large" not in found:
        text.append("The 5 GB dump was not part of this run: `PARTS=large`.\n")
    text.append("## Against PostgreSQL's own tools\n\nRatios are min / median / max over the rounds, each against the floor of its own round; "
                "the rest are medians.\nFloors: `pg_dump -Fc -Z0 > /dev/null`, and `pg_restore -j1` of such a dump from a file into a new database; of MongoDB\none cursor after the other reading raw batches, and one writer inserting them.\n")
    text.append(table(HEADINGS, comparisons(found)))
    for key, name in (("disk", "a backup to the file store"), ("sealed", "a backup to the encrypted file store"), ("grid", "a backup to GridFS"), ("restore", "a restore"),
                      ("mongo_dump", "a backup of MongoDB"), ("mongo_restore", "a restore of MongoDB")):
        if key in found:
            text.append(f"\n### Stages of {name}\n")
            text.append(table(("stage", "busy s", "waiting s", "CPU s"), stage_rows(found[key])))
    if "comparison" in found:
        text.append(f"\nThe comparison of the restored database with the save's inventory (`compare: digest`) made a restore {spread(found['comparison'])} "
                    "times as long as one without (min / median / max).")
    if "stores" in found:
        text.append("\n## Stores\n\nThe floors are the same stored bytes by one writer and one reader without Holdfast: a file with fsync; chunks of 2 MiB "
                    "by pymongo; one object by curl.\nA verify job reads, decrypts, decompresses and digests all of it.\n")
        text.append(table(STORE_HEADINGS, store_rows(found)))
    if "api" in found:
        text.append(f"\n## The API\n\nOver {found['api']['saves']:,} saves. The API, its PostgreSQL and the client share the processors, where it says so with a worker that is woken for every job and sweeps; "
                    "times of the mixed requests count from when each was due.\n")
        text.append(table(API_HEADINGS, api_rows(found)))
    if "slots" in found:
        text.append("\n## Slots of schedules\n\nHow long after its moment a slot's jobs are in the queue, with one worker; the worst of the rounds.\n")
        text.append(table(SLOT_HEADINGS, slot_rows(found)))
    return "\n".join(text) + "\n"
