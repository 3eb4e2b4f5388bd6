"""
OAuth2 clients: the public ones that Google ships, and key clients.

Google's programs carry a client id and a secret that everybody can read in them; the secret is not relied upon. Any
other client id is taken for a CloudStack API key, whose secret is the client's secret: a key client.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Client:
    """
    :param id: the `client_id` of its requests; for a key client an API key, which is not shown or stored.
    :param name: how a person knows it.
    :param public: one of those below; False for a key client.
    """

    id: str = field(repr=False)
    name: str
    public: bool

    @property
    def mark(self) -> str:
        """What is stored and logged in the place of the id, as unique as that."""
        return self.id if self.public else "key:" + hashlib.sha256(self.id.encode()).hexdigest()


PUBLIC: Final[Mapping[str, str]] = {
    # googlecloudsdk/core/config.py; gcutil 1.16.1 has the same
    "32555940559.apps.googleusercontent.com": "Google Cloud SDK (gcloud, gcutil)",
    # googlecloudsdk/api_lib/auth/util.py
    "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com": "Google Auth Library (gcloud auth "
    "application-default login)",
}
"""Names of the public clients by their ids."""


def find(client_id: str) -> Client | None:
    """The client of an id; None if it can be nobody's."""
    if client_id in PUBLIC:
        return Client(client_id, PUBLIC[client_id], public=True)
    if _KEY.fullmatch(client_id):
        return Client(client_id, "a program that holds the API key itself", public=False)
    return None
