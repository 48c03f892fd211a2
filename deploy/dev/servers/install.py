"""Debian's packages that the stack needs, and its certificates."""

import pathlib
import shutil
import time

from .common import Failure, ROOT, run, say, server_env
from .postgres import find_postgres


def install_packages():
    def missing(program):
        return shutil.which(program, path=server_env()["PATH"]) is None

    wanted = ["postgresql"] if find_postgres(required=False) is None else []
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
