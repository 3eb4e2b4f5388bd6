"""The command line: which command, its environment, its errors and its exit status."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from gceshim import __version__
from gceshim.commands.errors import FAILED, USAGE, CommandError
from gceshim.settings import SettingsError

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "a GCE endpoint with a simulated cloud behind it, to try",
    "serve": "the GCE endpoint of a CloudStack cloud",
    "env": "print the lines that point gcloud at a server of this machine",
    "gcloud-config": "make a gcloud configuration for a server",
    "credentials": "store CloudStack keys and make tokens for them",
    "service-account": "key files for programs, as Google's are",
    "cert": "a certificate for the server, and the authority that signs it",
    "store": "look at the store, migrate it, change the master key",
    "doctor": "check settings and CloudStack step by step",
    "simulator": "the simulated CloudStack alone",
}

EPILOG: Final = """\
examples:
  gceshim demo                          try it, nothing else is needed
  eval "$(gceshim env)"                 in another terminal: point gcloud at it
  gceshim doctor --config gceshim.toml  check the way to a real CloudStack
  gceshim serve --config gceshim.toml   and serve it

exit status: 0 done, 1 failed, 2 the command line or a setting is wrong
"""


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """
    The parser.

    :param commands: those that get their arguments too. A command's module is imported for that, with all that it
        needs, so a run names its own command alone.
    """
    parser = _Parser(prog="gceshim", description="Google Compute Engine's API in front of CloudStack.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"gceshim {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for name, meaning in COMMANDS.items():
        if name not in commands:
            choices.add_parser(name, help=meaning)
            continue
        module = importlib.import_module(f"gceshim.commands.{name.replace('-', '_')}")
        description, _, examples = (module.__doc__ or "").partition("\n\n")
        sub = choices.add_parser(name, help=meaning, description=description, epilog=examples)
        sub.set_defaults(run=module.run)
        module.configure(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command and give its exit status.

    :param argv: the arguments; None: those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in words if not word.startswith("-")), "")
    if chosen and chosen not in COMMANDS:
        return _complain(f"unknown command {chosen}{_near(chosen)}", USAGE)
    debug = "--debug" in words
    try:
        args = build_parser([chosen]).parse_args([word for word in words if word != "--debug"])
        status: int = args.run(args, os.environ)
        sys.stdout.flush()
        return status
    except SettingsError as exc:
        return _complain(str(exc), USAGE, debug)
    except CommandError as exc:
        return _complain(str(exc), exc.status, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return FAILED
    except KeyboardInterrupt:
        return 130
    except Exception as exc:  # noqa: BLE001 - the outermost edge of a command
        return _complain(f"unexpected {type(exc).__name__}: {exc} (gceshim --debug ... shows where)", FAILED, debug)


def _near(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"


def _complain(message: str, status: int, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    print(f"gceshim: {' '.join(message.split())}", file=sys.stderr)
    return status
