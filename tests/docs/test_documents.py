"""The documents say what is true: their commands exist, their snippets run, their links lead somewhere."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gceshim.cli import build_parser
from gceshim.settings import Settings
from gceshim.simulator import SimulatorSettings
from tests.ports import kept_port, port_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
README = ROOT / "README.md"


@dataclass(frozen=True)
class Snippet:
    """A fenced block."""

    where: str
    language: str
    text: str


def snippets(*languages: str) -> list[Snippet]:
    """All fenced blocks in these languages."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Snippet(f"{path.relative_to(ROOT)}:{line}", match[1], match[2]))
    return [snippet for snippet in found if snippet.language in languages]


def named(items: list[Snippet]) -> dict[str, object]:
    """Arguments of a parametrised test, each named for its place."""
    return {"argvalues": items, "ids": [item.where for item in items]}


@pytest.fixture
def demo(tmp_path) -> Iterator[dict[str, str]]:
    """The variables that `gceshim env` gives for a new demo, over an environment of its own."""
    home = tmp_path
    environ = {
        **os.environ,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "CLOUDSDK_CONFIG": str(home / "g"),
    }
    environ |= {"XDG_RUNTIME_DIR": str(home / "run"), "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true"}
    command = [sys.executable, "-m", "gceshim"]
    with subprocess.Popen([*command, "demo", "--port", "0"], env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("Ctrl-C stops it" in line for line in process.stdout)
            printed = subprocess.run([*command, "env"], env=environ, capture_output=True, text=True, check=True).stdout
            lines = [line.removeprefix("export ").split("=", 1) for line in printed.splitlines()]
            yield environ | {name: shlex.split(value)[0] for name, value in lines}
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(180)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    """A page that was renamed takes its links with it."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_generated_pages_are_up_to_date():
    """Settings and commands are written once, in code; `make docs` brings the pages after them."""
    command = [sys.executable, str(ROOT / "tools" / "gen_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("snippet", **named(snippets("sh", "console")))
def test_our_commands_in_the_documents_exist(snippet):
    """A command in a manual that the program does not know sends people away."""
    parser = build_parser()
    text = snippet.text.replace("\\\n", " ")
    for command in re.findall(r"(?:^|[(\s\"/])gceshim ([a-z][^\n|)#<]*)", text):
        words = [word for word in shlex.split(command.strip().rstrip('"')) if word != "&"]
        assert isinstance(parser.parse_args(words), argparse.Namespace)


@pytest.mark.parametrize("snippet", **named(snippets("sh")))
def test_shell_snippets_are_valid(snippet):
    """A quote that is not closed is not noticed by reading."""
    done = subprocess.run(["sh", "-n"], input=snippet.text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)", README.read_text()))))
def test_make_targets_in_the_readme_exist(target):
    """The two commands that a newcomer is given."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("snippet", **named(snippets("python")))
def test_python_snippets_compile(snippet):
    """Also those that cannot be run without a cloud."""
    compile(snippet.text, snippet.where, "exec")


PROGRAMS = [snippet for snippet in snippets("python") if snippet.where.startswith("README")]


@pytest.mark.parametrize("snippet", **named(PROGRAMS))
def test_python_programs_in_the_readme_run(demo, snippet):
    """They are copied into people's own programs."""
    done = subprocess.run(
        [sys.executable, "-c", snippet.text], env=demo, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(from-python RUNNING|sandbox-1-a UP)$", done.stdout, re.MULTILINE)


def answer(url: str) -> tuple[int, str]:
    """Status and body of a GET; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()
    except urllib.error.URLError:
        return 0, ""


def test_the_program_that_embeds_the_handlers_runs(tmp_path):
    """Somebody else's application with ours in it: both answer, each under its own paths."""
    program = next(item.text for item in snippets("python") if item.where.startswith("docs/embedding.md"))
    kept = kept_port()
    port = port_of(kept)
    program = program.replace("8787", str(port))
    environ = {**os.environ, "HOME": str(tmp_path)}
    with (
        kept,
        subprocess.Popen([sys.executable, "-c", program], env=environ, cwd=tmp_path, stderr=subprocess.PIPE) as process,
    ):
        try:
            server = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 180
            while answer(f"{server}/hello")[0] == 0 and process.poll() is None and time.monotonic() < until:
                pass
            assert answer(f"{server}/hello") == (200, "hello")
            status, body = answer(f"{server}/gce/compute/v1/projects/p/zones")
            assert (status, json.loads(body)["error"]["errors"][0]["reason"]) == (401, "required")
        finally:
            process.terminate()


@pytest.mark.parametrize("snippet", **named(snippets("toml")))
def test_settings_in_the_documents_load(tmp_path, snippet):
    """A setting that was renamed takes the manual with it."""
    file = tmp_path / "gceshim.toml"
    file.write_text(snippet.text)
    assert tomllib.loads(snippet.text).keys() <= vars(Settings.load(file)).keys()


@pytest.mark.parametrize("name", ["gceshim.toml", "production.toml"])
def test_sample_configurations_load(name):
    """They are what people start from."""
    settings = Settings.load(ROOT / "conf" / name, {"HOME": "/home/somebody"})
    assert settings.driver.name == "cloudstack"


def test_the_simulators_sample_loads():
    """As above, for the simulated cloud."""
    assert SimulatorSettings.load(ROOT / "conf" / "simulator.toml").machines == 3


TRANSCRIPT = next(snippet.text for snippet in snippets("console") if snippet.where.startswith("README"))


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_the_transcript_in_the_readme_is_true(demo):
    """It is the first thing that a newcomer compares with what they see."""
    server = demo["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"].removesuffix("/compute/v1/")
    parts = re.split(r"^\$ (.*)\n", TRANSCRIPT, flags=re.MULTILINE)[1:]
    for command, expected in zip(parts[::2], parts[1::2], strict=True):
        done = subprocess.run(
            command,
            shell=True,
            env=demo,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        shown = done.stdout.replace(server, "http://127.0.0.1:8787")
        shown = re.sub(r"\.+done\.", ".....done.", shown)
        assert (done.returncode, [line.rstrip() for line in shown.splitlines()]) == (0, expected.splitlines())
