"""Google's form of a service account's key file, which every client of Google's reads."""

from __future__ import annotations

import json
from urllib.parse import quote

from gceshim.auth.service_accounts.accounts import PrivateKey, ServiceAccount


def key_file(account: ServiceAccount, key: PrivateKey, url: str, project: str) -> str:
    """
    The text of a key file.

    `universe_domain` stays Google's: clients compare it with their own and refuse another.

    :param url: where clients reach the server, without a slash at the end: they get their tokens there.
    :param project: what clients work in that are not told.

    Source: the file that `gcloud iam service-accounts keys create` writes; google-auth `_service_account_info`.
    """
    fields = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": key.id,
        "private_key": key.pem,
        "client_email": account.email,
        "client_id": account.client_id,
        "auth_uri": f"{url}/o/oauth2/auth",
        "token_uri": f"{url}/token",
        "auth_provider_x509_cert_url": f"{url}/oauth2/v3/certs",
        "client_x509_cert_url": f"{url}/robot/v1/metadata/x509/{quote(account.email, safe='')}",
        "universe_domain": "googleapis.com",
    }
    return json.dumps(fields, indent=2) + "\n"
