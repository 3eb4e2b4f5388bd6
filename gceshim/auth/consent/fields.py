"""The two ways to sign in, as the form has them: what can be typed, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gceshim.auth.attempts import key_identity

PASSWORD: Final = "password"  # noqa: S105 the name of a way, and of a field
KEYS: Final = "keys"


@dataclass(frozen=True, slots=True)
class Field:
    """
    An input of the form.

    :param secret: is not shown while it is typed.
    :param kept: a wrong form comes back with what was typed here. Not so for an API key: whoever mixes it up with the
        secret key would find that on the page.
    :param mistake: what is wrong with it in particular. :param wrong: it is, or may be, what is wrong.
    """

    name: str
    label: str
    autocomplete: str
    secret: bool = False
    kept: bool = False
    optional: bool = False
    help: str = ""
    value: str = ""
    mistake: str = ""
    wrong: bool = False
    focused: bool = False

    @property
    def described_by(self) -> str:
        """The ids of the texts about this field, for those who do not see them beside it."""
        about = {f"{self.name}-mistake": self.mistake, f"{self.name}-help": self.help}
        texts = [name for name, text in about.items() if text]
        return " ".join(["alert", *texts] if self.wrong else texts)


@dataclass(frozen=True, slots=True)
class Panel:
    """A way to sign in."""

    way: str
    label: str
    fields: tuple[Field, ...]
    note: str
    chosen: bool = False


PANELS: Final = (
    Panel(
        PASSWORD,
        "User name",
        (
            Field("username", "User name", "username", kept=True),
            Field("password", "Password", "current-password", secret=True),
            Field(
                "domain",
                "Domain",
                "off",
                kept=True,
                optional=True,
                help="As on CloudStack's own login page, for instance research/physics.",
            ),
        ),
        "Your password is used once, to fetch your API key and secret key from CloudStack, or to have them made. It is "
        "not kept.",
    ),
    Panel(
        KEYS,
        "API key",
        (
            Field("api_key", "API key", "off"),
            Field("secret_key", "Secret key", "off", secret=True),
        ),
        "CloudStack shows both on the page of your user.",
    ),
)


@dataclass(frozen=True, slots=True)
class Typed:
    """What came with the form. Its repr shows nothing of it."""

    way: str
    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Typed:
        """From the form's fields, whatever else is among them."""
        names = [item.name for panel in PANELS for item in panel.fields]
        way = form.get("way", "")
        known = {panel.way for panel in PANELS}
        return cls(way if way in known else PASSWORD, {name: form.get(name, "") for name in names})

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields that have to be filled in, and are not."""
        return tuple(
            item.name
            for panel in PANELS
            if panel.way == self.way
            for item in panel.fields
            if not item.optional and not self.values[item.name].strip()
        )

    @property
    def identity(self) -> str:
        """Who wants to sign in, for counting attempts: CloudStack does not tell A from a in names."""
        if self.way == KEYS:
            return key_identity(self.values["api_key"])
        domains = [part for part in self.values["domain"].strip().casefold().split("/") if part]
        if domains[:1] == ["root"]:
            del domains[0]
        return "/".join(["user", *domains, self.values["username"].strip().casefold()])


def panels(typed: Typed | None = None, *, refused: bool = False) -> tuple[Panel, ...]:
    """
    The form's panels.

    :param typed: what came with the form before, of which all but secrets is kept; None: the form is new.
    :param refused: it was whole, and was not accepted.
    """
    if typed is None:
        return tuple(replace(panel, chosen=panel.way == PASSWORD) for panel in PANELS)
    return tuple(_panel(panel, typed, refused) for panel in PANELS)


def _panel(panel: Panel, typed: Typed, refused: bool) -> Panel:
    chosen = panel.way == typed.way
    missing = typed.missing if chosen else ()
    wrong = missing or (tuple(item.name for item in panel.fields) if refused and chosen else ())
    first = wrong[:1] or ((panel.fields[0].name,) if chosen else ())
    fields = tuple(
        replace(
            item,
            value=typed.values[item.name] if item.kept else "",
            mistake=f"Please fill in: {item.label.lower()}." if item.name in missing else "",
            wrong=item.name in wrong,
            focused=item.name in first,
        )
        for item in panel.fields
    )
    return replace(panel, chosen=chosen, fields=fields)
