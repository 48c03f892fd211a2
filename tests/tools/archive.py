#!/usr/bin/env python3
"""archive.py FILE...: reads a mongodump archive, of one file or of several in a row, and says as JSON what is in it.

An independent reader: nothing of Holdfast's, but pymongo's `bson`, which decodes every document. Files that end in .zst or
begin as zstd does are decompressed by `zstd`. Anything that is no archive ends it with status 1 and the byte's offset.
"""

import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys

sys.path.insert(0, os.environ.get("HOLDFAST_DEV_MONGO_PYTHON", ""))
import bson  # noqa: E402

MAGIC = bytes.fromhex("6de29981")
TERMINATOR = b"\xff" * 4
LARGEST = 16 * 1024 * 1024 + 16 * 1024


def table():
    values = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0xC96C5795D7870F42 if n & 1 else 0)
        values.append(n)
    return values


TABLE = table()


class Crc:
    """CRC-64 (ECMA-182, reflected)."""

    def __init__(self):
        self.state = 2**64 - 1

    def add(self, data):
        state = self.state
        for byte in data:
            state = TABLE[(state ^ byte) & 0xFF] ^ state >> 8
        self.state = state

    def value(self):
        return self.state ^ 2**64 - 1


class Bad(Exception):
    pass


class Archive:
    def __init__(self, data):
        self.data, self.at = data, 0

    def need(self, truth, problem):
        if not truth:
            raise Bad(f"at byte {self.at}: {problem}")

    def item(self):
        """A document's bytes, or None for a terminator."""
        head = self.data[self.at:self.at + 4]
        self.need(len(head) == 4, "it ends")
        if head == TERMINATOR:
            self.at += 4
            return None
        length = struct.unpack("<I", head)[0]
        self.need(5 <= length <= LARGEST, f"length {length}")
        document = self.data[self.at:self.at + length]
        self.need(len(document) == length, "it ends within a document")
        self.at += length
        return document

    def read(self):
        self.need(self.data[:4] == MAGIC, "the magic is not that of an archive")
        self.at = 4
        header = bson.decode(self.item())
        self.need(header["version"] == "0.1", "its version")
        namespaces = {}
        while (document := self.item()) is not None:
            found = bson.decode(document)
            is_series = found["type"] == "timeseries"
            name = (found["db"], ("system.buckets." if is_series else "") + found["collection"])
            self.need(name not in namespaces, f"{name} is announced twice")
            namespaces[name] = {
                "db": found["db"], "collection": found["collection"], "type": found["type"],
                "metadata": json.loads(found["metadata"]), "metadata_text": found["metadata"], "documents": 0, "bytes": 0,
                "blocks": 0, "begun": False, "ended": False, "crc": Crc(), "digests": []}
        most, last = 0, None
        while self.at < len(self.data):
            head = self.item()
            self.need(head is not None, "a terminator without a block")
            head = bson.decode(head)
            self.need(list(head) == ["db", "collection", "EOF", "CRC"], f"the header {head}")
            name = (head["db"], head["collection"])
            self.need(name in namespaces, f"{name} was not announced")
            space = namespaces[name]
            self.need(not space["ended"], f"{name} goes on after its end")
            if head["EOF"]:
                self.need(space["begun"], f"{name} ends and has not begun")
                self.need(head["CRC"] % 2**64 == space["crc"].value(), f"the checksum of {name}")
                self.need(self.item() is None, "documents after an end")
                space["ended"], last = True, None
                continue
            self.need(last != name, f"two blocks of {name} in a row")
            last, space["begun"] = name, True
            space["blocks"] += 1
            most = max(most, sum(space["begun"] and not space["ended"] for space in namespaces.values()))
            while (document := self.item()) is not None:
                bson.decode(document)
                space["documents"] += 1
                space["bytes"] += len(document)
                space["crc"].add(document)
                space["digests"].append(hashlib.sha256(document).hexdigest())
        for name, space in namespaces.items():
            self.need(space["ended"], f"{name} has no end")
        self.need(most <= header["concurrent_collections"], f"{most} namespaces are open at once")
        for space in namespaces.values():
            space["sha256_of_sorted_doc_sha256"] = hashlib.sha256("".join(sorted(space.pop("digests"))).encode()).hexdigest()
            for key in ("crc", "begun", "ended"):
                del space[key]
        return {"header": header, "most_open": most, "namespaces": {space["collection"]: space for space in namespaces.values()}}


def content(path):
    data = pathlib.Path(path).read_bytes()
    if data[:4] == bytes.fromhex("28b52ffd"):
        data = subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        print(json.dumps(Archive(b"".join(content(path) for path in sys.argv[1:])).read(), ensure_ascii=False))
    except (Bad, bson.errors.InvalidBSON, KeyError) as problem:
        print(f"archive.py: {problem}", file=sys.stderr)
        sys.exit(1)
