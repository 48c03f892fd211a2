"""The S3 server: versitygw, built with Go once per account."""

import os
import subprocess

from .common import Failure, server_env
from .go import Program
from .service import Service

VERSITYGW = Program("versitygw", "1.8.0", "github.com/versity/versitygw", "cmd/versitygw")


def s3_is_possible():
    return os.environ.get("HOLDFAST_DEV_S3") != "off" and VERSITYGW.is_possible()


class S3(Service):
    """An S3 server over a directory: versitygw. Its metadata lie beside the data, so that any file system will do."""

    def prepare(self):
        VERSITYGW.install()
        for directory in ("data", "meta", "versions"):
            self.directory(self.home / directory)

    def launch(self):
        env = server_env(HOME=str(self.home), ROOT_ACCESS_KEY="holdfast", ROOT_SECRET_KEY=self.state.secret("s3"))
        return self.spawn([VERSITYGW.path, "--quiet", "--port", f"127.0.0.1:{self.port}", "posix", "--sidecar", self.home / "meta",
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
