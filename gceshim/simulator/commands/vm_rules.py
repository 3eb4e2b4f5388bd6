"""Rules on names, sizes and user data that several commands on machines share.

Source: UserVmManagerImpl.
"""

import base64
import binascii
import re
from urllib.parse import unquote

from gceshim.simulator import entities as model
from gceshim.simulator import errors
from gceshim.simulator.call import Call
from gceshim.simulator.state import State

_LABEL = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_GET_USER_DATA_BYTES = 4_096
_MIN_USER_DATA_BYTES = 2
_HEX = re.compile(r"%[0-9A-Fa-f]{2}")


def check_name(name: str) -> None:
    """:raises ApiError: 431 for a name that is not a host label."""
    if not _LABEL.fullmatch(name):
        raise errors.invalid(
            "Invalid name. Vm name can contain ASCII letters 'a' through 'z', the digits '0' through '9', and the"
            " hyphen ('-'), must be between 1 and 63 characters long, and can't start or end with \"-\" and can't"
            " start with digit"
        )


def check_name_free(state: State, name: str, networks: list[model.Network], besides: model.Vm | None = None) -> None:
    """Host names are unique within each network, and within networks that share a domain and an owner's VPC.

    :raises ApiError: 431.
    """
    wanted = name.casefold()
    for network in networks:
        domain = network.network_domain.casefold()
        for vm in state.rows(model.Vm):
            if vm is besides or vm.name.casefold() != wanted or vm.state == "Expunging":
                continue
            if any(nic.network is network or nic.network.network_domain.casefold() == domain for nic in vm.nics):
                raise errors.invalid(
                    f"The vm with hostName {name} already exists in the network domain: {network.network_domain};"
                    f" network={network.uuid}"
                )


def read_user_data(call: Call, text: str) -> str:
    """User data as it is kept, in base64.

    :raises ApiError: 431 for what is not base64, too short or too long.
    """
    if _HEX.search(text):
        text = unquote(text)
    # Form decoding turns the plus signs of careless clients into spaces; the server's decoder is as lenient.
    text = text.strip().replace(" ", "+")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise errors.invalid("User data is not base64 encoded") from exc
    if len(content) < _MIN_USER_DATA_BYTES:
        raise errors.invalid("User data is too short")
    longest = call.settings.userdata_max_bytes
    if call.method == "GET":
        longest = min(longest, _GET_USER_DATA_BYTES)
    if len(content) > longest:
        raise errors.invalid(f"User data is too long: at most {longest} bytes are allowed for an HTTP {call.method}")
    return base64.b64encode(content).decode()


def sizes(offering: model.ServiceOffering, details: dict[str, str]) -> tuple[int, int, int]:
    """vCPUs, MHz and MiB of memory of a machine of this offering; custom values are in ``details``.

    :raises ApiError: 431 for values that the offering does not want, lacks or does not allow.
    """
    named = {key.casefold(): value for key, value in details.items()}
    given = [key for key in ("cpunumber", "cpuspeed", "memory") if key in named]
    if not offering.custom:
        if given:
            raise errors.invalid("cpuNumber or cpuSpeed or memory should not be specified for static service offering")
        return offering.cpus or 1, offering.speed_mhz or 1000, offering.memory_mib or 512
    missing = "cpunumber" not in named or "memory" not in named
    if missing or (offering.speed_mhz is None and "cpuspeed" not in named):
        raise errors.invalid(
            "Need to specify custom parameter values cpu, cpu speed and memory when using custom offering"
        )
    cpus, memory_mib = _positive("cpu cores", named["cpunumber"]), _positive("memory", named["memory"])
    speed_mhz = _positive("cpu speed", named["cpuspeed"]) if "cpuspeed" in named else offering.speed_mhz or 1000
    least_cpus, most_cpus, least_memory, most_memory = offering.limits or (1, 2**31 - 1, 32, 2**31 - 1)
    if not least_cpus <= cpus <= most_cpus:
        raise errors.invalid(f"Invalid cpu cores value, specify a value between {least_cpus} and {most_cpus}")
    if not least_memory <= memory_mib <= most_memory:
        raise errors.invalid(f"Invalid memory value, specify a value between {least_memory} and {most_memory}")
    return cpus, speed_mhz, memory_mib


def _positive(what: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    if not 0 < number < 2**31:
        raise errors.invalid(f"Invalid {what} value, specify a value between 1 and 2147483647")
    return number


def find_key_pairs(call: Call, owner: model.Account) -> list[str]:
    """The names given in ``keypair`` and ``keypairs``.

    :raises ApiError: 431 if the owner lacks one of them.
    """
    names = call.args.texts("keypairs") or [name for name in (call.args.text("keypair"),) if name]
    known = {row.name for row in call.state.rows(model.KeyPair) if row.account is owner}
    if not known.issuperset(names):
        raise errors.invalid("Not all specified keyparis exist")
    return list(dict.fromkeys(names))


def check_detail_keys(details: dict[str, str]) -> None:
    """:raises ApiError: 431 for details that only an administrator's setting may bring."""
    for key in details:
        if key.casefold().startswith("extraconfig"):
            raise errors.invalid("'extraconfig' should not be included in details as key")
