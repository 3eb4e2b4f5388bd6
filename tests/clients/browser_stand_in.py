"""
A person at a browser: opens a page, signs in with BROWSER_USER and BROWSER_PASSWORD, allows what is asked, and goes
where that leads. For a page with a code, prints the code.

    BROWSER="python browser_stand_in.py %s &" program-that-opens-a-browser
"""

from __future__ import annotations

import os
import sys
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar


class Forms(HTMLParser):
    """The hidden and other fields of each form, where it is sent, and the text of a text area."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.forms: list[dict[str, str]] = []
        self.code = ""
        self._in_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found["action"]
            self.forms.append({})
        elif tag == "input" and self.forms:
            self.forms[-1][found["name"]] = found.get("value", "")
        self._in_code = tag == "textarea"

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.code += data

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False


def read(reply: urllib.response.addinfourl) -> Forms:
    forms = Forms()
    forms.feed(reply.read().decode())
    return forms


def main(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(url, timeout=30) as reply:
        forms, page = read(reply), reply.url
    if forms.forms:
        [form] = [form for form in forms.forms if "username" in form]
        form |= {
            "username": os.environ["BROWSER_USER"],
            "password": os.environ["BROWSER_PASSWORD"],
            "decision": "allow",
        }
        parts = urllib.parse.urlsplit(page)
        request = urllib.request.Request(
            urllib.parse.urljoin(page, forms.action),
            urllib.parse.urlencode(form).encode(),
            {"Origin": f"{parts.scheme}://{parts.netloc}", "Sec-Fetch-Site": "same-origin"},
        )
        with opener.open(request, timeout=30) as reply:
            forms = read(reply)
    sys.stdout.write(forms.code.strip())


main(sys.argv[1])
