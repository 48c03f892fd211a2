"""Debian's packages that the stack needs, and its certificates."""

import pathlib
import shutil
import time

from .common import Failure, ROOT, run, say, server_env
from .postgres import find_postgres


# Of Debian's major version: whose psql is safe with people's text, as imports of plain SQL ask for (ADR 34).
PATCHED = (15, 20)


def is_outdated(bindir):
    program = bindir / "postgres"
    if not str(program).startswith(f"/usr/lib/postgresql/{PATCHED[0]}/"):
        return False  # somebody's own
    version = run([program, "--version"]).split()[2]
    return tuple(map(int, version.split("."))) < PATCHED


def install_packages():
    def missing(program):
        return shutil.which(program, path=server_env()["PATH"]) is None

    bindir = find_postgres(required=False)
    wanted = ["postgresql"] if bindir is None else []
    if bindir is not None and is_outdated(bindir):
        wanted += [f"postgresql-{PATCHED[0]}", f"postgresql-client-{PATCHED[0]}"]
    if missing("rabbitmq-server") and not pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        wanted.append("rabbitmq-server")
    packages = {"java": "default-jre-headless", "mvn": "maven", "openssl": "openssl", "zstd": "zstd", "jq": "jq", "curl": "curl",
                "amqp-consume": "amqp-tools", "faketime": "faketime", "age": "age"}
    wanted += [package for program, package in packages.items() if missing(program)]
    if not wanted:
        return
    if missing("apt-get"):
        raise Failure(f"missing: {', '.join(wanted)}. Install them: this is not a Debian-like system, so it is not done here")
    sudo = [] if ROOT else ["sudo"]
    if sudo and missing("sudo"):
        raise Failure(f"missing: {', '.join(wanted)}. Run as root: apt-get install {' '.join(wanted)}")
    say(f"up: installing with {' '.join(sudo + ['apt-get'])}: {' '.join(wanted)}")
    began = time.monotonic()
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours_to_remove = not policy.exists()
    if ours_to_remove:
        # The packages would start servers of the system, on the default ports; only this stack's own are wanted.
        run([*sudo, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' > {policy} && chmod 755 {policy}"])
    try:
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
        run([*apt, "update"])
        run([*apt, "install", "--no-install-recommends", *wanted])
    finally:
        if ours_to_remove:
            run([*sudo, "rm", "-f", str(policy)])
    say(f"up: installed {' '.join(wanted)}   {time.monotonic() - began:.1f} s")
