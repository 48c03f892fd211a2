"""One server of the stack: prepared, started, found ready, ended."""

import shutil
import signal
import subprocess
import time

from .common import Failure, LOGS, ROOT, servers_dir
from .process import alive, family, ours, process_stat, signal_all, wait_until

START_SECONDS = 90
STOP_SECONDS = 60


class Service:
    """One server. Subclasses say how it is prepared, started and found ready."""

    stop_signal = signal.SIGTERM
    user = None

    def __init__(self, name, state):
        self.name, self.state = name, state
        self.home = servers_dir(state) / name
        self.log = LOGS / f"{name}.log"

    def record(self, process=None):
        return self.state.part("processes").get(process or self.name)

    def running(self):
        return ours(self.record())

    @property
    def port(self):
        return self.state.port(self.name, keep=True)

    def owner(self):
        return self.user if ROOT else None

    def directory(self, path, mode=0o700):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        if self.owner():
            shutil.chown(path, self.owner(), self.owner())
        return path

    def file(self, path, text, mode=0o600):
        path.write_text("")
        path.chmod(mode)
        path.write_text(text)
        if self.owner():
            shutil.chown(path, self.owner(), self.owner())
        return path

    def as_user(self):
        return {"user": self.owner(), "group": self.owner(), "extra_groups": []} if self.owner() else {}

    def spawn(self, command, marker, env, process=None):
        LOGS.mkdir(exist_ok=True)
        with open(self.log, "ab") as log:
            child = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.home, env=env, start_new_session=True, **self.as_user())
        with self.state.lock:
            self.state.part("processes")[process or self.name] = {
                "pid": child.pid, "started": process_stat(child.pid)[2], "marker": str(marker), "log": str(self.log)}
            self.state.save()
        return child

    def start(self):
        if self.running():
            return "already runs"
        began = time.monotonic()
        self.home.mkdir(parents=True, exist_ok=True)
        self.state.port(self.name)
        self.prepare()
        child = self.launch()
        ready = wait_until(lambda: child.poll() is not None or self.ready(), START_SECONDS)
        if child.poll() is not None or not ready:
            why = f"ended with {child.returncode}" if child.poll() is not None else f"not ready within {START_SECONDS} s"
            if child.poll() is None:
                signal_all(family(self.record()), signal.SIGKILL)
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise Failure(f"{self.name} {why}; its log is {self.log}, the end of it:\n{tail}")
        self.after_start()
        return f"{time.monotonic() - began:.1f} s"

    def after_start(self):
        pass

    def end(self, process, number):
        """Ends one recorded process and its descendants; returns whether there was anything to end."""
        record = self.record(process)
        there = ours(record)
        if there:
            members = family(record)
            signal_all(members[:1] if number != signal.SIGKILL else members, number)
            signal_all(members, signal.SIGCONT)  # a paused process would never see the signal
            gone = lambda: not any(alive(*member) for member in members)
            if not wait_until(gone, STOP_SECONDS):
                signal_all(members, signal.SIGKILL)
                if not wait_until(gone, 10):
                    raise Failure(f"{self.name}: process {record['pid']} does not end")
        with self.state.lock:
            self.state.part("processes").pop(process, None)
            self.state.save()
        return there

    def stop(self):
        return self.end(self.name, self.stop_signal)

    def kill9(self):
        return self.end(self.name, signal.SIGKILL)

    def env(self):
        return {}
