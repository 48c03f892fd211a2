"""Processes that this stack started: found again by pid and start time, with all their children."""

import contextlib
import os
import pathlib
import time


def process_stat(pid):
    """(state, parent, start time) of a process, or None when it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[19])


def alive(pid, started):
    found = process_stat(pid)
    return found is not None and found[0] not in "ZX" and found[2] == started


def ours(record):
    """Whether the recorded pid is still the process that this stack started: pids are reused."""
    if not record or not alive(record["pid"], record["started"]):
        return False
    try:
        command = pathlib.Path(f"/proc/{record['pid']}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return record["marker"] in command


def family(record):
    """The process with all its descendants, as (pid, start time) pairs; the process itself comes first."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (found := process_stat(int(entry))):
            children.setdefault(found[1], []).append((int(entry), found[2]))
    members = [(record["pid"], record["started"])]
    for pid, _ in members:
        members.extend(children.get(pid, []))
    return members


def signal_all(members, number):
    for pid, started in members:
        if alive(pid, started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
