"""A browser without a window: keeps cookies, reads forms, and says where a form comes from as browsers do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

GCLOUD = "32555940559.apps.googleusercontent.com"
API = "https://www.googleapis.com/auth/"
LOOPBACK = "http://localhost:8085/"
OOB = "urn:ietf:wg:oauth:2.0:oob"
AUTHCODE = "https://sdk.cloud.google.com/authcode.html"
AUTHORIZE = "/o/oauth2/auth"
DEMO = {"way": "keys", "api_key": "demo-api-key", "secret_key": "demo-secret-key", "decision": "allow"}
BY_NAME = {"way": "password", "username": "demo", "password": "password", "decision": "allow"}


def query(**changed: str | None) -> str:
    """What gcloud asks for, with other parameters; None leaves one out."""
    usual: dict[str, str | None] = {
        "response_type": "code",
        "client_id": GCLOUD,
        "redirect_uri": LOOPBACK,
        "scope": f"openid {API}userinfo.email {API}cloud-platform {API}compute",
        "state": "the-state",
    }
    return urlencode({name: value for name, value in (usual | changed).items() if value is not None})


@dataclass
class Page:
    """An answer: status, headers, text, and of HTML its forms' fields, inputs, headings and other tags."""

    status: int
    headers: Mapping[str, str]
    text: str
    url: str
    action: str = ""
    forms: list[dict[str, str]] = field(default_factory=list)
    inputs: dict[str, dict[str, str | None]] = field(default_factory=dict)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: str = ""

    @property
    def title(self) -> str:
        """The words of the first heading."""
        return self.words.split("<h1>")[1].split("</h1>")[0].strip()

    @property
    def alert(self) -> str:
        """The words of the alert, "" if there is none."""
        _, _, after = self.words.partition("<div>")
        return " ".join(after.partition("</div>")[0].replace("<p>", " ").replace("</p>", " ").split())

    @property
    def answer(self) -> dict[str, str]:
        """The parameters that a redirect carries back to the client."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.headers["Location"]).query).items()}

    @property
    def code(self) -> str:
        """The code that the page shows."""
        assert 'id="code"' in self.text
        return self.words.split("<textarea>")[1].split("</textarea>")[0]


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        page, found = self._page, dict(attrs)
        page.tags.append((tag, found))
        page.words += f"<{tag}>" if tag in {"h1", "div", "p", "textarea"} else ""
        if tag == "form":
            page.action = found["action"] or ""
            page.forms.append({})
        elif tag == "input":
            page.inputs[found.get("id") or found["name"] or ""] = found
            if page.forms and found.get("type") != "radio":
                page.forms[-1][found["name"] or ""] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._page.words += f"</{tag}>" if tag in {"h1", "div", "p", "textarea"} else ""

    def handle_data(self, data: str) -> None:
        self._page.words += data


class Visitor:
    """
    One browser.

    :param url: scheme, host and port of the server. :param headers: sent with every request.
    """

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.cookies: dict[str, str] = {}
        self._headers = headers

    async def get(self, text: str | None = None, path: str = AUTHORIZE, **headers: str) -> Page:
        """The page for a query, or for what gcloud asks for."""
        return await self.fetch(f"{self.url}{path}?{query() if text is None else text}", headers=headers)

    async def send(
        self, page: Page, *, origin: str | None = "", site: str | None = "same-origin", **fields: str
    ) -> Page:
        """
        The form of a page, filled in and sent as Chromium does.

        :param origin: another Origin header than the page's, or None for none. :param site: as Sec-Fetch-Site.
        """
        [form] = [form for form in page.forms if form["way"] == fields.get("way", "password")]
        own = "{0.scheme}://{0.netloc}".format(urlsplit(page.url))
        headers = {"Origin": own if origin == "" else origin, "Sec-Fetch-Site": site}
        sent = {name: value for name, value in headers.items() if value is not None}
        return await self.post(urljoin(page.url, page.action), form | fields, headers=sent)

    async def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> Page:
        """Any form to any place."""
        body = urlencode(fields, errors="surrogatepass")
        return await self.fetch(
            url, method="POST", body=body, headers={"Content-Type": "application/x-www-form-urlencoded", **headers}
        )

    async def fetch(self, url: str, *, headers: Mapping[str, str], **more: Any) -> Page:
        """One request with the cookies of this browser; no redirect is followed."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        merged = {**self._headers, **({"Cookie": cookie} if cookie else {}), **headers}
        request = HTTPRequest(url, headers=merged, follow_redirects=False, request_timeout=60, **more)
        reply = await AsyncHTTPClient().fetch(request, raise_error=False)
        for line in reply.headers.get_list("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        page = Page(reply.code, reply.headers, reply.body.decode(), url)
        if page.headers.get("Content-Type", "").startswith("text/html"):
            _Reader(page).feed(page.text)
        return page
