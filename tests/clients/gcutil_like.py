"""
What gcutil does, on gcutil's own libraries: oauth2client for the login, google-api-python-client for the calls.

    python gcutil_like.py login|list|refresh|revoke   with the settings in the environment; prints a line of JSON

Run as a program of its own, as gcutil is; gcutil itself is not on PyPI.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import httplib2
from googleapiclient.discovery import build
from oauth2client import tools
from oauth2client.client import OAuth2WebServerFlow
from oauth2client.file import Storage

URL = os.environ["GCUTIL_URL"]
#: Those of gcutil 1.16.1.
SCOPES = [
    f"https://www.googleapis.com/auth/{name}"
    for name in (
        "cloud-platform",
        "compute",
        "compute.readonly",
        "devstorage.full_control",
        "devstorage.read_only",
        "devstorage.read_write",
        "devstorage.write_only",
        "ndev.clouddns.readwrite",
        "userinfo.email",
        "userinfo.profile",
    )
]


def login(storage: Storage) -> dict[str, Any]:
    """By a browser and a web server of its own; by a code to copy if GCUTIL_PORT is not set."""
    base = f"{URL}/oauth2"
    flow = OAuth2WebServerFlow(
        client_id=os.environ["GCUTIL_CLIENT_ID"],
        client_secret=os.environ["GCUTIL_CLIENT_SECRET"],
        scope=SCOPES,
        user_agent="google-compute-cmdline/1.16.1",
        auth_uri=f"{base}/auth",
        token_uri=f"{base}/token",
        revoke_uri=f"{base}/revoke",
    )
    port = os.environ.get("GCUTIL_PORT")
    words = ["--auth_host_name", "127.0.0.1", "--auth_host_port", port] if port else ["--noauth_local_webserver"]
    credentials = tools.run_flow(flow, storage, tools.argparser.parse_args(words), http=httplib2.Http())
    return {"email": credentials.id_token["email"], "expires_in": credentials.token_response["expires_in"]}


def listing(storage: Storage) -> dict[str, Any]:
    """Zones and machines of a project, by methods made from the document that the server gives out."""
    http = storage.get().authorize(httplib2.Http())
    compute = build(
        "compute",
        "v1",
        http=http,
        discoveryServiceUrl=f"{URL}/discovery/v1/apis/{{api}}/{{apiVersion}}/rest",
        static_discovery=False,
        cache_discovery=False,
    )
    project = os.environ["GCUTIL_PROJECT"]
    zones = compute.zones().list(project=project).execute()
    zone = zones["items"][0]["name"]
    machines = compute.instances().list(project=project, zone=zone).execute()
    return {"zones": [item["name"] for item in zones["items"]], "kind": machines["kind"]}


def main(verb: str) -> None:
    storage = Storage(os.environ["GCUTIL_CREDENTIALS"])
    said: dict[str, Any] = {}
    if verb == "login":
        said = login(storage)
    elif verb == "list":
        said = listing(storage)
    elif verb == "refresh":
        storage.get().refresh(httplib2.Http())
    elif verb == "revoke":
        storage.get().revoke(httplib2.Http())
    sys.stdout.write(json.dumps(said) + "\n")


main(sys.argv[1])
