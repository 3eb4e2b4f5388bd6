"""
Reduces Google's compute v1 discovery document to the facts that gceshim serves from.

    python tools/build_discovery.py            write gceshim/protocol/compute-v1.json
    python tools/build_discovery.py --check    exit 1 when that file is not what would be written
    python tools/build_discovery.py --changes  methods added and removed, for the commit message

The source is the copy inside google-api-python-client, a development dependency. Prose (descriptions, icons, links to
manuals) is dropped; ids, paths, verbs, parameters, schemas and scopes stay.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "gceshim" / "protocol" / "compute-v1.json"

TOP = (
    "kind", "discoveryVersion", "id", "name", "version", "revision", "title", "ownerDomain", "ownerName",
    "protocol", "rootUrl", "servicePath", "basePath", "baseUrl", "batchPath",
)  # fmt: skip
PARAMETER = (
    "type", "format", "location", "required", "repeated", "default", "enum", "pattern", "minimum", "maximum",
)  # fmt: skip
SCHEMA = (
    "id", "type", "$ref", "format", "enum", "default", "pattern", "readOnly", "annotations", "minimum", "maximum",
)  # fmt: skip
METHOD = ("id", "httpMethod", "path", "parameterOrder", "request", "response", "scopes")

Json = dict[str, Any]


def source() -> Path:
    """The official document, as google-api-python-client carries it."""
    import googleapiclient.discovery_cache  # noqa: PLC0415 - a development dependency; --help works without

    folder = Path(googleapiclient.discovery_cache.__file__).parent
    return folder / "documents" / "compute.v1.json"


def pick(node: Json, names: tuple[str, ...]) -> Json:
    return {name: node[name] for name in names if name in node}


def reduce_schema(node: Json) -> Json:
    facts = pick(node, SCHEMA)
    if "properties" in node:
        facts["properties"] = {name: reduce_schema(child) for name, child in node["properties"].items()}
    for name in ("items", "additionalProperties"):
        if name in node:
            facts[name] = reduce_schema(node[name])
    return facts


def reduce_method(node: Json) -> Json:
    facts = pick(node, METHOD)
    if node["flatPath"] != node["path"]:
        facts["flatPath"] = node["flatPath"]
    facts["parameters"] = {name: pick(child, PARAMETER) for name, child in node["parameters"].items()}
    return facts


def reduce_document(document: Json) -> Json:
    """The document without prose; the order of everything is kept."""
    facts = pick(document, TOP)
    facts["auth"] = {"oauth2": {"scopes": {scope: {} for scope in document["auth"]["oauth2"]["scopes"]}}}
    facts["parameters"] = {name: pick(child, PARAMETER) for name, child in document["parameters"].items()}
    facts["resources"] = {
        name: {"methods": {verb: reduce_method(method) for verb, method in collection["methods"].items()}}
        for name, collection in document["resources"].items()
    }
    facts["schemas"] = {name: reduce_schema(schema) for name, schema in document["schemas"].items()}
    return facts


def render(facts: Json) -> str:
    """One line for each method, schema and top-level fact, so that a new revision reads well as a diff."""
    lines = []
    for name, value in facts.items():
        if name == "resources":
            collections = [
                f'"{collection}": {{"methods": {{\n'
                + ",\n".join(f"{json.dumps(verb)}: {compact(method)}" for verb, method in body["methods"].items())
                + "\n}}"
                for collection, body in value.items()
            ]
            lines.append('"resources": {\n' + ",\n".join(collections) + "\n}")
        elif name == "schemas":
            schemas = [f"{json.dumps(schema)}: {compact(body)}" for schema, body in value.items()]
            lines.append('"schemas": {\n' + ",\n".join(schemas) + "\n}")
        else:
            lines.append(f"{json.dumps(name)}: {compact(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def method_ids(facts: Json) -> set[str]:
    return {m["id"] for collection in facts["resources"].values() for m in collection["methods"].values()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is out of date")
    parser.add_argument("--changes", action="store_true", help="print the methods added and removed, write nothing")
    args = parser.parse_args()

    wanted = render(reduce_document(json.loads(source().read_text(encoding="utf-8"))))
    present = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if args.check:
        if present != wanted:
            print(f"{TARGET.name} is out of date: run python tools/build_discovery.py", file=sys.stderr)
            return 1
        return 0
    if args.changes:
        old, new = method_ids(json.loads(present)), method_ids(json.loads(wanted))
        for sign, names in (("+", new - old), ("-", old - new)):
            print("\n".join(f"{sign} {name}" for name in sorted(names)))
        return 0
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
