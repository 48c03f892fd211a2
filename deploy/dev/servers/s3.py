"""The S3 server: versitygw, built with Go once per account."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import time

from .common import Failure, run, say, server_env
from .service import Service

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "holdfast-dev"
VERSITYGW = CACHE / "versitygw-1.8.0/versitygw"


def s3_is_possible():
    if os.environ.get("HOLDFAST_DEV_S3") == "off":
        return False
    return VERSITYGW.exists() or shutil.which("go", path=go_path()) is not None


def go_path():
    return server_env()["PATH"] + ":/usr/local/go/bin"


def install_versitygw():
    """Built once per account and not per stack: it takes minutes."""
    if VERSITYGW.exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if VERSITYGW.exists():
            return
        if shutil.which("go", path=go_path()) is None:
            raise Failure("s3 needs Go to build versitygw, and Go is not installed")
        say("up: building versitygw 1.8.0 with Go, once: this takes minutes")
        began = time.monotonic()
        built = CACHE / "versitygw-1.8.0.new"
        run(["go", "install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0"], cwd=CACHE, env=os.environ | {
            "PATH": go_path(), "GOPATH": str(CACHE / "go"), "GOCACHE": str(CACHE / "go-build"), "GOBIN": str(built),
            "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0"})
        VERSITYGW.parent.mkdir(exist_ok=True)
        (built / "versitygw").rename(VERSITYGW)
        for left in (built, CACHE / "go", CACHE / "go-build"):
            shutil.rmtree(left, ignore_errors=True)
        say(f"up: built versitygw   {time.monotonic() - began:.1f} s")


class S3(Service):
    """An S3 server over a directory: versitygw. Its metadata lie beside the data, so that any file system will do."""

    def prepare(self):
        install_versitygw()
        for directory in ("data", "meta", "versions"):
            self.directory(self.home / directory)

    def launch(self):
        env = server_env(HOME=str(self.home), ROOT_ACCESS_KEY="holdfast", ROOT_SECRET_KEY=self.state.secret("s3"))
        return self.spawn([VERSITYGW, "--quiet", "--port", f"127.0.0.1:{self.port}", "posix", "--sidecar", self.home / "meta",
                           "--versioning-dir", self.home / "versions", self.home / "data"], self.home / "data", env)

    def request(self, method, path):
        """The status of a signed request. The key goes by standard input: arguments are readable to everyone."""
        done = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", "--aws-sigv4", "aws:amz:us-east-1:s3",
             "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-X", method, "-K", "-",
             f"http://127.0.0.1:{self.port}/{path}"],
            input=f'user = "holdfast:{self.state.secret("s3")}"\n', stdout=subprocess.PIPE, text=True, check=False)
        return int(done.stdout or 0)

    def ready(self):
        return self.request("GET", "") == 200

    def after_start(self):
        status = self.request("PUT", "holdfast")
        if status not in (200, 409):
            raise Failure(f"s3 answered {status} to the creation of bucket holdfast")

    def env(self):
        return {"S3_URL": f"http://127.0.0.1:{self.port}", "S3_BUCKET": "holdfast", "S3_ACCESS_KEY_ID": "holdfast",
                "S3_SECRET_ACCESS_KEY": self.state.secret("s3"), "S3_DIR": str(self.home)}
