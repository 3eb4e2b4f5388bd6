"""Running gcloud: which configurations it has, and changing one step by step."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gceshim.commands.errors import CommandError

PROGRAM: Final = "gcloud"
_SECONDS: Final = 180.0


@dataclass(frozen=True)
class Configuration:
    """A named configuration. `properties`: those that are set, by `section/name`; gcloud lists most of them."""

    active: bool
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """
    One call of gcloud.

    :param environ: variables for this call alone.
    :param warns: whether what gcloud warns of is worth showing.
    :param talks: whether it talks to the person at the terminal.
    """

    words: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    warns: bool = True
    talks: bool = False

    def shown(self) -> str:
        """The call as a shell takes it."""
        return shlex.join([*(f"{name}={value}" for name, value in self.environ.items()), PROGRAM, *self.words])


def setting(name: str, value: str, configuration: str, *, warns: bool = True) -> Step:
    """Set a property of a configuration; an empty value unsets it."""
    words = ("set", name, value) if value else ("unset", name)
    return Step(("config", *words, f"--configuration={configuration}", "--quiet"), warns=warns)


class Gcloud:
    """The gcloud of the search path, with none of the variables that would stand in the way."""

    def __init__(self, environ: Mapping[str, str], without: Sequence[str] = ()) -> None:
        """
        :param without: variables that are not handed on.
        :raises CommandError: there is no gcloud.
        """
        program = shutil.which(PROGRAM, path=environ.get("PATH"))
        if program is None:
            raise CommandError(
                "gcloud is not installed, or not in $PATH; see https://cloud.google.com/sdk/docs/install"
            )
        self._program = program
        self._environ = {name: value for name, value in environ.items() if name not in without}

    def configurations(self) -> dict[str, Configuration]:
        """Those that there are, by name. :raises CommandError:"""
        done = self._call(Step(("config", "configurations", "list", "--format=json")))
        try:
            rows: list[dict[str, Any]] = json.loads(done.stdout)
            return {row["name"]: Configuration(bool(row["is_active"]), _flat(row["properties"])) for row in rows}
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise CommandError("gcloud config configurations list: its answer is not understood") from exc

    def run(self, step: Step) -> list[str]:
        """
        One step; what gcloud warned of in it.

        :raises CommandError: it failed, with gcloud's own words.
        """
        done = self._call(step)
        return [line for line in (done.stderr or "").splitlines() if line.startswith("WARNING: ") and step.warns]

    def _call(self, step: Step) -> subprocess.CompletedProcess[str]:
        command = [self._program, *step.words]
        environ = {**self._environ, **step.environ}
        try:
            if step.talks:
                done = subprocess.run(command, env=environ, text=True, check=False)  # noqa: S603 words of our own
            else:
                done = subprocess.run(  # noqa: S603 words of our own
                    command,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_SECONDS,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise CommandError(f"{step.shown()}: {exc}") from exc
        if done.returncode != 0:
            raise CommandError(f"{step.shown()}: {_complaint(done.stderr or '')}")
        return done


def _complaint(errors: str) -> str:
    """gcloud's error, without its advice on what else to type."""
    lines = errors.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("ERROR: ")]
    if not starts:
        return " ".join(lines[-3:]) or "it failed"
    end = next((number for number in range(starts[0], len(lines)) if not lines[number].strip()), len(lines))
    return " ".join(lines[starts[0] : end]).removeprefix("ERROR: ")


def _flat(properties: Mapping[str, Mapping[str, str | None]]) -> dict[str, str]:
    return {
        f"{section}/{name}": value
        for section, values in properties.items()
        for name, value in values.items()
        if value is not None
    }
