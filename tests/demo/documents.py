#!/usr/bin/env python3
"""documents.py {seed N | damage | sums} DATABASE: the auction system's documents, for the demonstration.

`seed` makes N watch-list entries with their indexes, messages and an empty collection; `damage` is an accident with them;
`sums` prints a line for each collection: its name, documents, a digest of all their bytes in any order, and its indexes.
"""

import hashlib
import os
import sys

sys.path.insert(0, os.environ.get("HOLDFAST_DEV_MONGO_PYTHON", ""))
import bson  # noqa: E402
import pymongo  # noqa: E402
from bson.raw_bson import RawBSONDocument  # noqa: E402


def open_database(name):
    return pymongo.MongoClient(os.environ["HOLDFAST_DEV_MONGO_URL"])[name]


def insert(collection, documents):
    batch = []
    for document in documents:
        batch.append(document)
        if len(batch) == 1000:
            collection.insert_many(batch)
            batch = []
    if batch:
        collection.insert_many(batch)


def seed(database, count):
    insert(database["watchlist"], (
        {"_id": n, "user": f"user-{n % 997}", "item": n * 7, "note": "Größe " + "x" * (n % 80), "tags": ["a", "ü"], "bid": n / 7}
        for n in range(count)))
    database["watchlist"].create_index([("user", 1), ("item", -1)], name="user_item", unique=True)
    database["watchlist"].create_index("bid", sparse=True)
    insert(database["messages.sent"], ({"_id": f"m{n}", "text": "y" * 500, "to": None} for n in range(count // 10)))
    database.create_collection("drafts")


def damage(database):
    database["watchlist"].delete_many({"_id": {"$lt": 50}})
    database["watchlist"].insert_one({"_id": -1, "user": "oops", "item": 0})
    database.drop_collection("messages.sent")
    database["promotions"].insert_one({"_id": 1, "since": "the later release"})


def sums(database):
    for name in sorted(database.list_collection_names()):
        # What a restore has put aside is not the application's.
        if name.startswith(("__hf_", "system.")):
            continue
        raw = bson.CodecOptions(document_class=RawBSONDocument)
        count, total = 0, 0
        for document in database.get_collection(name, codec_options=raw).find(batch_size=500):
            count += 1
            total += int.from_bytes(hashlib.blake2b(document.raw, digest_size=16).digest(), "big")
        print(name, count, f"{total % 2 ** 128:032x}", ",".join(sorted(database[name].index_information())), sep="\t")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["seed", count, name]:
            seed(open_database(name), int(count))
        case ["damage", name]:
            damage(open_database(name))
        case ["sums", name]:
            sums(open_database(name))
        case _:
            sys.exit(__doc__)
