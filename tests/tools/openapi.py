#!/usr/bin/env python3
"""docs/openapi.json against the OpenAPI 3.1 schema, and every example in it against the schema it stands beside.

An independent reader: nothing here is of Holdfast's own making. Needs the wheel openapi-spec-validator.
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/openapi.json"


def contents(value, path=""):
    """Everything in a document that has a schema and an example, with its place."""
    if isinstance(value, dict):
        if "schema" in value and "example" in value:
            yield path, value["schema"], value["example"]
        for name, member in value.items():
            if name != "example":
                yield from contents(member, f"{path}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from contents(item, f"{path}/{index}")


def main():
    document = json.loads(DOCUMENT.read_text())
    problems = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    count = 0
    for place, schema, example in contents(document):
        count += 1
        # References are looked up in the document.
        whole = {"components": document["components"], "allOf": [schema]}
        for error in Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).iter_errors(example):
            problems.append(f"{place}: example {error.json_path}: {error.message}")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"openapi: {len(document['paths'])} paths, {count} examples, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
