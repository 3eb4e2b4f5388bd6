"""
Reduces Google's discovery documents to the facts that gceshim serves from.

    python tools/build_discovery.py            write gceshim/protocol/compute-v1.json and its neighbours
    python tools/build_discovery.py --check    exit 1 when a file is not what would be written
    python tools/build_discovery.py --changes  methods added and removed, for the commit message

The sources are the copies inside google-api-python-client, a development dependency. Prose (descriptions, icons, links
to manuals) is dropped; ids, paths, verbs, parameters, schemas and scopes stay. Compute Engine's is kept whole; of
another API just the methods that are served, and the schemas that they reach.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "gceshim" / "protocol"

# Name and version of each API, and the methods that are kept; None for all.
APIS: dict[tuple[str, str], frozenset[str] | None] = {
    ("compute", "v1"): None,
    # What `gcloud projects list` and `describe`, `gcloud config set project` and the ADC login call.
    ("cloudresourcemanager", "v1"): frozenset(
        f"cloudresourcemanager.projects.{name}" for name in ("get", "list", "testIamPermissions")
    ),
}

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


def source(name: str, version: str) -> Json:
    """The official document, as google-api-python-client carries it."""
    import googleapiclient.discovery_cache  # noqa: PLC0415 - a development dependency; --help works without

    folder = Path(googleapiclient.discovery_cache.__file__).parent
    document: Json = json.loads((folder / "documents" / f"{name}.{version}.json").read_text(encoding="utf-8"))
    return document


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


def narrowed(facts: Json, kept: frozenset[str]) -> Json:
    """The reduced document of just these methods, and the schemas that they reach."""
    chosen = {
        name: {"methods": {verb: method for verb, method in collection["methods"].items() if method["id"] in kept}}
        for name, collection in facts["resources"].items()
    }
    resources = {name: collection for name, collection in chosen.items() if collection["methods"]}
    waiting = references(resources)
    reached: set[str] = set()
    while waiting:
        reached |= waiting
        waiting = {found for name in waiting for found in references(facts["schemas"][name])} - reached
    schemas = {name: schema for name, schema in facts["schemas"].items() if name in reached}
    return {**facts, "resources": resources, "schemas": schemas}


def references(node: Any) -> set[str]:
    """The schemas that anything inside refers to."""
    if isinstance(node, list):
        return {name for child in node for name in references(child)}
    if not isinstance(node, dict):
        return set()
    found = {name for child in node.values() for name in references(child)}
    return found | {node["$ref"]} if isinstance(node.get("$ref"), str) else found


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

    stale = []
    for (name, version), kept in APIS.items():
        facts = reduce_document(source(name, version))
        wanted = render(facts if kept is None else narrowed(facts, kept))
        target = FOLDER / f"{name}-{version}.json"
        present = target.read_text(encoding="utf-8") if target.exists() else ""
        if args.changes:
            print_changes(json.loads(present or '{"resources": {}}'), json.loads(wanted))
        elif args.check:
            stale += [target.name] if present != wanted else []
        else:
            target.write_text(wanted, encoding="utf-8")
    for file in stale:
        print(f"{file} is out of date: run python tools/build_discovery.py", file=sys.stderr)
    return 1 if stale else 0


def print_changes(present: Json, wanted: Json) -> None:
    old, new = method_ids(present), method_ids(wanted)
    for sign, names in (("+", new - old), ("-", old - new)):
        print("\n".join(f"{sign} {name}" for name in sorted(names)))


if __name__ == "__main__":
    sys.exit(main())
