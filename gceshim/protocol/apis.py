"""
The APIs that one server speaks: to which of them a path belongs, and the discovery documents that are served.

Compute Engine is the first. Beside it stand the few methods of others that its clients call at the same endpoint.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from gceshim.protocol.discovery import RESOURCE_MANAGER, DiscoveryError, Document, Method
from gceshim.protocol.router import MethodRouter, Route, unknown_path
from gceshim.protocol.schema import BodyReader
from gceshim.protocol.wire import JSON_TYPE, WireReply

# Errors of Google's newer APIs carry a canonical code beside the status; those of Compute Engine do not.
_CANONICAL: Final = frozenset({RESOURCE_MANAGER})
_SERVED_URLS: Final = 32
_PLACEHOLDER: Final = "https://root-url.invalid/"


class Api:
    """
    One of them: its document, and what is made from that.

    :param implemented: ids of methods, those of other APIs among them.
    """

    def __init__(self, document: Document, implemented: Collection[str]) -> None:
        own = [method_id for method_id in implemented if method_id.partition(".")[0] == document.name]
        self.document = document
        self.bodies = BodyReader(document)
        self.canonical_errors = document.name in _CANONICAL
        self._below = [part for part in document.service_path.split("/") if part]
        self._router = MethodRouter(document.methods, document.service_path)
        self._served = json.dumps(document.served(own, _PLACEHOLDER))
        self._replies: dict[str, WireReply] = {}

    @property
    def roots(self) -> frozenset[str]:
        """What the paths of its methods begin with: `compute`, or `v1`."""
        return frozenset(self._below[:1] or [method.path.partition("/")[0] for method in self.document.methods])

    def route(self, verb: str, segments: Sequence[str]) -> Route:
        """
        The method called by `verb` on a path.

        :raises NotFound, MethodNotAllowed: as `MethodRouter.route`.
        """
        depth = len(self._below)
        if list(segments[:depth]) != self._below:
            raise unknown_path("/" + "/".join(segments))
        return self._router.route(verb, segments[depth:])

    def discovery(self, root_url: str) -> WireReply:
        """The document of what is implemented, for a server that is reached under `root_url`."""
        reply = self._replies.get(root_url)
        if reply is None:
            reply = WireReply(200, {"Content-Type": JSON_TYPE}, self._served.replace(_PLACEHOLDER, root_url).encode())
            if len(self._replies) >= _SERVED_URLS:  # the Host is the client's to choose
                self._replies.clear()
            self._replies[root_url] = reply
        return reply


class Apis:
    """
    All of them.

    :param documents: the first is the one that a path names which names none: `$discovery/rest`.
    :param implemented: ids of methods.
    :raises DiscoveryError: none of the documents has such a method.
    """

    def __init__(self, documents: Sequence[Document], implemented: Collection[str]) -> None:
        self._apis = [Api(document, implemented) for document in documents]
        self._by_root = {root: api for api in self._apis for root in api.roots}
        self._by_rest_path = {api.document.rest_path: api for api in self._apis}
        for method_id in implemented:
            self.method(method_id)

    @property
    def rest_paths(self) -> Collection[str]:
        """Where discovery documents are served."""
        return self._by_rest_path.keys()

    def method(self, method_id: str) -> Method:
        """
        The method of this id, whosever it is.

        :raises DiscoveryError: there is none.
        """
        name = method_id.partition(".")[0]
        document = next((api.document for api in self._apis if api.document.name == name), None)
        if document is None:
            raise DiscoveryError(f"no API here has a method {method_id!r}")
        return document.method(method_id)

    def at(self, segments: Sequence[str]) -> Api:
        """
        The API to which a path belongs.

        :raises NotFound: none.
        """
        api = self._by_root.get(segments[0]) if segments else None
        if api is None:
            raise unknown_path("/" + "/".join(segments))
        return api

    def discovery(self, rest_path: str | None, root_url: str) -> WireReply:
        """The document served at one of `rest_paths`; None: that of the first API."""
        api = self._apis[0] if rest_path is None else self._by_rest_path[rest_path]
        return api.discovery(root_url)

    def directory(self, root_url: str) -> dict[str, Any]:
        """The list of the APIs. Source: discovery.apis.list of the Google API Discovery Service."""
        items = [api.document.directory_item(root_url) for api in self._apis]
        return {"kind": "discovery#directoryList", "discoveryVersion": "v1", "items": items}
