"""Request signatures: HMAC-SHA1 over the sorted parameters, with the spellings that known clients use.

Source: ApiServer.verifyRequest, and the signing code of libcloud, cloudstack-go and cs.
"""

import base64
import datetime
import hashlib
import hmac
import itertools
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

_COMPACT_ZONE = re.compile(r"([+-]\d{2})(\d{2})$")


def signing_strings(params: Mapping[str, str]) -> Iterator[str]:
    """The texts that a good client may have signed, likely ones first: escaping and sort order differ."""
    names = [name for name in params if name.lower() != "signature"]
    orders = (sorted(names), sorted(names, key=str.lower))
    seen = set()
    for escape_names, order, safe in itertools.product((False, True), orders, ("*", "*~", "[]*", "[]*~", "", "~")):
        pairs = []
        for name in order:
            shown = quote(name, safe="[]*") if escape_names else name
            value = quote(params[name], safe=safe)
            pairs.append(f"{shown}={value if '~' in safe else value.replace('~', '%7E')}")
        text = "&".join(pairs).lower()
        if text not in seen:
            seen.add(text)
            yield text


def sign(text: str, secret: str) -> str:
    """Base64 of the HMAC-SHA1 of ``text``, which is lower-cased already."""
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def is_good(params: Mapping[str, str], signature: str, secret: str) -> bool:
    """Whether ``signature`` was made over ``params`` with ``secret``."""
    given = signature.encode()
    return any(hmac.compare_digest(sign(text, secret).encode(), given) for text in signing_strings(params))


def is_expired(expires: str, now: datetime.datetime) -> bool:
    """Whether a version 3 signature's ``expires`` lies before ``now``; a date that cannot be read counts as expired.

    Read are ISO 8601 with an offset (with or without colon), with Z, with or without fractions.
    """
    try:
        moment = datetime.datetime.fromisoformat(_COMPACT_ZONE.sub(r"\1:\2", expires.strip()))
    except ValueError:
        return True
    if moment.tzinfo is None:
        return True
    return moment < now
