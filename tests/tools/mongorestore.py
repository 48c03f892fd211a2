#!/usr/bin/env python3
"""Stands in for mongorestore, for a test of how it is called: it notes its arguments and its configuration file, and
restores what they say with pymongo. It knows the options that Holdfast gives, and refuses every other.

The directory for the notes is beside this script: `seen/`.
"""

import json
import os
import pathlib
import stat
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import archive  # noqa: E402  (tests/tools/archive.py, which finds pymongo)
import bson  # noqa: E402
import pymongo  # noqa: E402
from bson import json_util  # noqa: E402
from bson.raw_bson import RawBSONDocument  # noqa: E402

FLAGS = {"--archive", "--stopOnError", "--noIndexRestore", "--bypassDocumentValidation", "--writeConcern=majority"}


def arguments(words):
    config, include, sources, targets = None, [], [], []
    for word in words:
        name, _, value = word.partition("=")
        if word in FLAGS:
            continue
        if name == "--config":
            config = pathlib.Path(value)
        elif name == "--nsInclude":
            include.append(value)
        elif name == "--nsFrom":
            sources.append(value)
        elif name == "--nsTo":
            targets.append(value)
        else:
            raise SystemExit(f"unknown option {word}")
    return config, set(include), dict(zip(sources, targets, strict=True))


def main(words):
    config, include, renamed = arguments(words)
    seen = HERE / "seen"
    seen.mkdir(exist_ok=True)
    (seen / "argv.json").write_text(json.dumps(words))
    (seen / "environment.json").write_text(json.dumps(dict(os.environ)))
    (seen / "config").write_text(config.read_text())
    (seen / "mode").write_text(oct(stat.S_IMODE(config.stat().st_mode)))
    key, _, uri = config.read_text().partition(": ")
    if key != "uri":
        raise SystemExit("the configuration file holds no uri")
    if (HERE / "lies").exists():
        sys.stdin.buffer.read()
        return
    client = pymongo.MongoClient(json.loads(uri), document_class=RawBSONDocument)
    found = archive.Archive(sys.stdin.buffer.read())
    found.at = 4
    found.item()
    while (document := found.item()) is not None:
        space = bson.decode(document)
        name = f"{space['db']}.{space['collection']}"
        if name in include:
            database, _, collection = renamed[name].partition(".")
            options = json_util.loads(space["metadata"]).get("options", {})
            client[database].command({"create": collection, **options})
    while found.at < len(found.data):
        head = bson.decode(found.item())
        name = f"{head['db']}.{head['collection']}"
        documents = []
        while (document := found.item()) is not None:
            documents.append(RawBSONDocument(document))
        if name in include and documents:
            database, _, collection = renamed[name].partition(".")
            client[database][collection].insert_many(documents)


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        print("mongorestore version: 100.9.4")
    else:
        main(sys.argv[1:])
