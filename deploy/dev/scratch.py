"""A database with the schema of the migrations and nothing in it, on the stack, for as long as a tool needs it."""

import contextlib
import functools
import json
import os
import pathlib
import secrets
import shlex
import subprocess
import urllib.parse

REPO = pathlib.Path(__file__).resolve().parents[2]


class Failure(Exception):
    """Something that the person at the terminal can act on; printed without a traceback."""


@functools.cache
def stack_env():
    """The stack's HOLDFAST_DEV_* settings."""
    done = subprocess.run([REPO / "deploy/dev/stack", "env"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failure("there is no stack: run `deploy/dev/stack up`")
    words = shlex.split(done.stdout)
    return dict(word.split("=", 1) for word in words if "=" in word)


def psql(url, *arguments, text=None):
    """Runs psql; its output, unaligned and without headings."""
    program = pathlib.Path(stack_env()["HOLDFAST_DEV_PG_BINDIR"]) / "psql"
    # The URL goes by the environment: arguments are in everybody's process list.
    parts = urllib.parse.urlsplit(url)
    environment = os.environ | {
        "PGHOST": parts.hostname, "PGPORT": str(parts.port), "PGDATABASE": parts.path[1:],
        "PGUSER": urllib.parse.unquote(parts.username), "PGPASSWORD": urllib.parse.unquote(parts.password or ""),
        "PGOPTIONS": "-c client_min_messages=warning"}
    done = subprocess.run(
        [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments], input=text, env=environment, text=True,
        stdin=None if text is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise Failure(f"psql: {done.stderr.strip()}")
    return done.stdout


def migrations():
    """Our migrations after apalis' own, whose schema two of our statements name; each a file of SQL, in order."""
    metadata = subprocess.run(["cargo", "metadata", "--format-version=1", "--locked"], cwd=REPO, stdout=subprocess.PIPE, check=True)
    manifest = next(p["manifest_path"] for p in json.loads(metadata.stdout)["packages"] if p["name"] == "apalis-postgres")
    return [path for place in (pathlib.Path(manifest).parent / "migrations", REPO / "migrations")
            for path in sorted(place.glob("*.sql"))]


@contextlib.contextmanager
def scratch_database():
    """The URL of a migrated database that is dropped afterwards."""
    server = stack_env()["HOLDFAST_DEV_META_SUPER_URL"]
    name = f"scratch_{secrets.token_hex(6)}"
    psql(server, "-c", f"CREATE DATABASE {name}")
    try:
        url = urllib.parse.urlunsplit(urllib.parse.urlsplit(server)._replace(path=f"/{name}"))
        psql(url, "-c", "CREATE SCHEMA apalis")
        psql(url, *(f"--file={path}" for path in migrations()))
        yield url
    finally:
        psql(server, "-c", f"DROP DATABASE {name} WITH (FORCE)")
