"""The MongoDB-wire server of the development stack: its data, and what a client alone needs there: the floors."""

import os
import sys
import time
import urllib.parse

from stack import setting

sys.path.insert(0, os.environ.get("HOLDFAST_DEV_MONGO_PYTHON", ""))
import bson  # noqa: E402
import pymongo  # noqa: E402
from bson.raw_bson import RawBSONDocument  # noqa: E402
from stack import Timed  # noqa: E402

COLLECTIONS, BATCH_BYTES = 4, 4 * 2**20


class Mongo:
    """A client of its own, which neither decodes nor encodes what it reads and writes."""

    def __init__(self):
        self.url = setting("MONGO_URL")
        parts = urllib.parse.urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port
        self.client = pymongo.MongoClient(self.url, document_class=RawBSONDocument)

    def seed(self, name, documents, size):
        """`documents` of about `size` bytes each, spread over four collections."""
        self.client.drop_database(name)
        text = os.urandom(size // 4).hex() + "x" * (size - size // 4 * 2)
        per_batch = max(1, min(1000, BATCH_BYTES // size))
        for number in range(COLLECTIONS):
            collection = self.client[name][f"items{number}"]
            share = range(number, documents, COLLECTIONS)
            for first in range(0, len(share), per_batch):
                collection.insert_many([RawBSONDocument(bson.encode({"_id": n, "user": f"user-{n % 997}", "text": text}))
                                        for n in share[first:first + per_batch]], ordered=False)

    def drop(self, *names):
        for name in names:
            self.client.drop_database(name)

    def batch(self, size):
        """Documents a batch: the stack's server heeds no bound in bytes of its own."""
        return max(1, min(10_000, BATCH_BYTES // size))

    def floor_dump(self, name, size):
        """One cursor after the other, reading raw batches that nobody looks at."""
        began, cpu = time.monotonic(), time.process_time()
        for collection in self.client[name].list_collection_names():
            for batch in self.client[name][collection].find_raw_batches(batch_size=self.batch(size)):
                len(batch)
        return Timed(time.monotonic() - began, time.process_time() - cpu, 0.0, 0)

    def floor_restore(self, name, into, size):
        """The same documents, inserted in unordered batches by one writer; reading them is not counted."""
        self.client.drop_database(into)
        wall = cpu = 0.0
        for collection in self.client[name].list_collection_names():
            for batch in self.client[name][collection].find_raw_batches(batch_size=self.batch(size)):
                documents = bson.decode_all(batch, bson.CodecOptions(document_class=RawBSONDocument))
                began, used = time.monotonic(), time.process_time()
                self.client[into][collection].insert_many(documents, ordered=False)
                wall, cpu = wall + time.monotonic() - began, cpu + time.process_time() - used
        self.client.drop_database(into)
        return Timed(wall, cpu, 0.0, 0)

    def empty_bucket(self, name):
        """Frees the server between rounds: it keeps in memory what it has not written yet."""
        for part in ("chunks", "files"):
            self.client[name][f"saves.{part}"].delete_many({})

    def write_chunks(self, name, path, chunk):
        """A file's bytes as GridFS chunks by one writer, and read again: seconds of both."""
        bucket = self.client[name]["floor.chunks"]
        bucket.drop()
        began = time.monotonic()
        with open(path, "rb") as file:
            for n, data in enumerate(iter(lambda: file.read(chunk), b"")):
                bucket.insert_one({"_id": n, "n": n, "data": bson.Binary(data)})
        written = time.monotonic() - began
        began = time.monotonic()
        for batch in bucket.find_raw_batches(sort=[("n", 1)], batch_size=8):
            len(batch)
        read = time.monotonic() - began
        bucket.drop()
        return written, read
