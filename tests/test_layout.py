"""The habits that a program can check: sizes, names, what may stand where, and imports that do nothing."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gceshim"
MODULES = sorted(PACKAGE.rglob("*.py"))
RESOURCES = sorted((PACKAGE / "resources").glob("*.py"))
LONGEST_MODULE_LINES = 500
MOST_PUBLIC_METHODS = 15
LONGEST_METHOD_LINES = 12


def name(path: Path) -> str:
    """A file as the reports name it."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse(path.read_text(), str(path))


def classes(path: Path) -> Iterator[ast.ClassDef]:
    """The classes of a file."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions anywhere below a node."""
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))


def gce_methods() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Everything in `resources/` that is marked `@method`."""
    for path in RESOURCES:
        for function in functions(tree(path)):
            if any(isinstance(mark, ast.Name) and mark.id == "method" for mark in function.decorator_list):
                yield f"{name(path)}:{function.lineno} {function.name}", function


def test_modules_fit_on_a_few_screens():
    """A module that has grown past this holds two things; split it by collection or capability."""
    lengths = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_MODULE_LINES} == {}


def test_classes_are_small():
    """A class that does everything is where changes collide."""
    found = {}
    for path in MODULES:
        for item in classes(path):
            public = [part.name for part in item.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            public = [method for method in public if not method.startswith("_")]
            if len(public) > MOST_PUBLIC_METHODS:
                found[f"{name(path)} {item.name}"] = len(public)
    assert found == {}


def test_no_module_is_named_for_nothing():
    """`utils` and `common` collect what nobody gave a place."""
    banned = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}
    assert [name(path) for path in MODULES if path.name in banned] == []


def text_of(node: ast.AST | None) -> str:
    """The string that a node is, "" for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_kinds_and_links_are_made_in_one_place():
    """They come from the discovery document and the request; one typed by hand is one that can be wrong."""
    makers = {PACKAGE / "resources" / "base.py"}
    found = []
    for path in MODULES:
        if PACKAGE / "protocol" in path.parents:
            continue
        for node in ast.walk(tree(path)):
            made = [text_of(key) for key in node.keys] if isinstance(node, ast.Dict) else []
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                made.append(text_of(node.slice))
            if text_of(node).startswith("compute#") or ("selfLink" in made and path not in makers):
                found.append(f"{name(path)}:{getattr(node, 'lineno', 0)}")
    assert found == []


def test_gce_methods_convert_call_and_convert():
    """What a GCE method needs beyond twelve lines belongs to the base, a conversion or the driver."""
    lengths = {where: (function.end_lineno or 0) - function.lineno + 1 for where, function in gce_methods()}
    assert len(lengths) > 10
    assert {where: lines for where, lines in lengths.items() if lines > LONGEST_METHOD_LINES} == {}


def test_gce_methods_know_no_http():
    """Statuses, headers and the translation of errors have one place each, and it is not here."""
    found = []
    for where, function in gce_methods():
        for node in ast.walk(function):
            if isinstance(node, ast.Try):
                found.append(f"{where}: try")
            if isinstance(node, ast.Attribute) and node.attr in {"write", "set_status", "set_header", "finish"}:
                found.append(f"{where}: .{node.attr}")
            if isinstance(node, ast.Constant) and isinstance(node.value, int) and 400 <= node.value < 600:
                found.append(f"{where}: {node.value}")
    assert found == []


def is_number(annotation: ast.expr | None) -> bool:
    """Whether a type is a plain number, or one or None."""
    return annotation is not None and re.fullmatch(r"(int|float)( \| None)?", ast.unparse(annotation)) is not None


def test_numbers_carry_their_unit_in_the_name():
    """Bytes taken for GiB, milliseconds for seconds: a bare `size` or `timeout` is how it happens."""
    banned = {"size", "memory", "timeout", "ttl", "disk_size", "lifetime", "interval", "delay", "age"}
    found = []
    for path in MODULES:
        named: list[tuple[str, ast.expr | None, int]] = []
        for item in classes(path):
            fields = [part for part in item.body if isinstance(part, ast.AnnAssign)]
            named += [(ast.unparse(part.target), part.annotation, part.lineno) for part in fields]
        for function in functions(tree(path)):
            parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            named += [(arg.arg, arg.annotation, arg.lineno) for arg in parameters]
        found += [f"{name(path)}:{line} {word}" for word, kind, line in named if word in banned and is_number(kind)]
    assert found == []


def test_imports_inside_functions_say_why():
    """Most are a hidden cycle; the few with a reason give it."""
    found = []
    for path in MODULES:
        lines = path.read_text().splitlines()
        for function in functions(tree(path)):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    around = lines[node.lineno - 2 : (node.end_lineno or node.lineno)]
                    if not any("#" in line for line in around):
                        found.append(f"{name(path)}:{node.lineno}")
    assert found == []


def tracked_files() -> list[Path]:
    """All text files of the tree, those that are not ours to write left out."""
    skipped = {".git", ".venv", "node_modules", "__pycache__", "build", "dist"}
    kinds = {".py", ".md", ".toml", ".txt", ".sh", ".cfg", ".js", ".mjs", ""}
    found = []
    for folder in sorted(path for path in ROOT.iterdir() if not path.name.endswith(".egg-info")):
        paths = [folder] if folder.is_file() else folder.rglob("*")
        for path in paths:
            parts = path.relative_to(ROOT).parts
            if path.is_file() and path.suffix in kinds and not any(p in skipped or p.endswith("_cache") for p in parts):
                found.append(path)
    return [path for path in found if path.name != ".hypothesis" and ".hypothesis" not in path.parts]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\b(TO" r"DO|FIX" r"ME)\b", "what is missing is told in the documents, not in code"),
        (r"(?<![\w/.])/(wo" r"rk|root|Users|home/(?!somebody))/", "a path of one machine means nothing on another"),
        (r"\.\./sha" r"red", "the tree stands alone"),
    ],
)
def test_the_tree_holds_nothing_that_only_its_writer_understands(pattern, why):
    """Notes to oneself and paths of one's own machine stay out."""
    found = []
    for path in tracked_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{name(path)}:{number} {line.strip()[:80]}")
    assert found == [], why


IMPORT_ALL = """
import builtins, importlib, io, json, os, socket, sys, logging

def refuse(what):
    def refused(*args, **kwargs):
        raise AssertionError(f"{what} while {current} was imported")
    return refused

plain_open, plain_os_open = io.open, os.open

def reading_open(file, mode="r", *args, **kwargs):
    if set(mode) & set("wax+"):
        refuse(f"opened {file} for writing")()
    return plain_open(file, mode, *args, **kwargs)

def reading_os_open(path, flags, *args, **kwargs):
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        refuse(f"opened {path} for writing")()
    return plain_os_open(path, flags, *args, **kwargs)

sys.dont_write_bytecode = True
ours, others = json.loads(sys.argv[1]), json.loads(sys.argv[2])
current = "what we stand on"
for module in others:
    importlib.import_module(module)
handlers = list(logging.getLogger().handlers)
builtins.open = io.open = reading_open
os.open = reading_os_open
os.mkdir = refuse("made a folder")
socket.socket.connect = refuse("connected")
socket.socket.bind = refuse("bound a port")
for current in ours:
    importlib.import_module(current)
assert logging.getLogger().handlers == handlers, "an import set logging up"
"""

OTHERS = ["tornado.web", "tornado.httpserver", "libcloud.compute.drivers.cloudstack", "stevedore", "jose.jwt", "re2"]
OTHERS += ["cattrs", "cryptography.fernet", "sqlite3"]


def test_importing_a_module_does_nothing():
    """No socket, no file written, no logging set up: an embedder imports us into a process of their own."""
    dotted = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    ours = [module for module in dotted if not module.startswith("gceshim.testing")]
    command = [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, json.dumps(ours), json.dumps(OTHERS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
