"""Programs in Go that no package of Debian has: built once per account and not per stack, as that takes minutes."""

import fcntl
import os
import pathlib
import shutil
import tempfile
import time

from .common import Failure, run, say, server_env

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "holdfast-dev"


def go_path():
    return server_env()["PATH"] + ":/usr/local/go/bin"


def is_there():
    return shutil.which("go", path=go_path()) is not None


class Program:
    """`package` of a module at one version, for example `cmd/ferretdb`. Of its source some files are written anew or changed
    before it is built: `files` by name, `changes` as name, old and new text. `edition` tells builds with others apart."""

    def __init__(self, name, version, module, package, files=(), changes=(), edition=""):
        self.name, self.version, self.module, self.package = name, version, module, package
        self.files, self.changes = dict(files), list(changes)
        self.path = CACHE / f"{name}-{version}{edition}" / name

    def is_possible(self):
        return self.path.exists() or is_there()

    def install(self):
        if self.path.exists():
            return
        CACHE.mkdir(parents=True, exist_ok=True)
        with open(CACHE / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.path.exists():
                self.build()

    def build(self):
        if not is_there():
            raise Failure(f"{self.name} has to be built with Go, and Go is not installed")
        say(f"up: building {self.name} {self.version} with Go, once: this takes minutes")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{self.name}-") as place:
            place = pathlib.Path(place)
            env = os.environ | {"PATH": go_path(), "GOPATH": str(place / "go"), "GOCACHE": str(place / "cache"), "CGO_ENABLED": "0",
                                "GOFLAGS": "-modcacherw", "GOWORK": "off"}
            # The module itself is what is built, not something that needs it: so are its own requirements what they are.
            (place / "go.mod").write_text(f"module holdfast\n\nrequire {self.module} v{self.version}\n")
            run(["go", "mod", "download", self.module], cwd=place, env=env)
            fetched = run(["go", "list", "-m", "-f", "{{.Dir}}", self.module], cwd=place, env=env).strip()
            source = place / "source"
            shutil.copytree(fetched, source)
            for name, text in self.files.items():
                (source / name).write_text(text)
            for name, old, new in self.changes:
                text = (source / name).read_text()
                if text.count(old) != 1:
                    raise Failure(f"{self.name} {self.version}: {name} is not what is to be changed")
                (source / name).write_text(text.replace(old, new))
            run(["go", "build", "-o", place / self.name, f"./{self.package}"], cwd=source, env=env)
            self.path.parent.mkdir(exist_ok=True)
            (place / self.name).replace(self.path)
        say(f"up: built {self.name}   {time.monotonic() - began:.1f} s")
