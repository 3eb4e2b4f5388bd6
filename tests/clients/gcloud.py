"""The real gcloud, pointed at a demo by nothing but the lines that `gceshim env` prints."""

from __future__ import annotations

import copy
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.demo import Demo, environment

TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Said:
    """What a command came to: exit status, standard output and standard error."""

    status: int
    output: str
    errors: str

    @property
    def table(self) -> list[list[str]]:
        """The words of each line below the heading."""
        return [line.split() for line in self.output.splitlines()[1:]]


class Gcloud:
    """Runs `gcloud compute ...`, or any other command of gcloud's, in an environment of its own."""

    def __init__(self, demo: Demo, config: Path) -> None:
        """
        Take the printed lines through a shell, as a user does.

        :param config: folder for gcloud's own files, so that those of the machine's user play no part.
        """
        lines = demo.gceshim("env")
        quiet = {"CLOUDSDK_CONFIG": str(config), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
        quiet["CLOUDSDK_CORE_DISABLE_USAGE_REPORTING"] = "true"
        quiet["CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK"] = "true"
        shell = ["sh", "-c", f"{lines}\nenv -0"]
        done = subprocess.run(shell, env={**environment(demo.home), **quiet}, capture_output=True, check=True)
        self.environment = dict(item.split("=", 1) for item in done.stdout.decode().split("\0") if item)

    def with_variables(self, **changed: str | None) -> Gcloud:
        """The same with other variables; None takes one away."""
        other = copy.copy(self)
        merged = {**self.environment, **changed}
        other.environment = {name: value for name, value in merged.items() if value is not None}
        return other

    def run(self, *words: str) -> Said:
        """A command of the group `compute` to its end, however that is."""
        return self.outside_compute("compute", *words)

    def outside_compute(self, *words: str) -> Said:
        """A command of any group to its end, however that is."""
        command = ["gcloud", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def done(self, *words: str) -> Said:
        """A command that has to succeed."""
        said = self.run(*words)
        if said.status != 0:
            pytest.fail(f"gcloud compute {' '.join(words)}: {said}")
        return said

    def shown(self, *words: str) -> Any:
        """What a command that has to succeed prints as JSON."""
        return json.loads(self.done(*words, "--format=json").output)

    def refused(self, *words: str) -> str:
        """The error of a command that has to fail: exit status 1, and nothing on standard output."""
        said = self.run(*words)
        assert (said.status, said.output) == (1, ""), said
        assert "Traceback" not in said.errors and "crashed" not in said.errors, said
        return said.errors[said.errors.index("ERROR: ") :].strip()
