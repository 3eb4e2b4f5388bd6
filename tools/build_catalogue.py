"""Reduce the full CloudStack API catalogue to what the simulator serves.

Usage: python tools/build_catalogue.py PATH_TO_api-4.22.json [OUTPUT]

Keeps, for each command of the simulator, its parameters (type, whether required), whether it is asynchronous, its
response kind, key and fields. Notes that only concern other clients are left out. The corrections at the top are the
places where the full catalogue describes a client's view instead of what the server sends; each has its reason.
"""

import json
import pathlib
import sys
from typing import Any

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "gceshim" / "simulator" / "catalogue.json"

COMMANDS = [
    "listZones",
    "listServiceOfferings",
    "listDiskOfferings",
    "listTemplates",
    "listIsos",
    "listOsTypes",
    "listOsCategories",
    "listHypervisors",
    "listCapabilities",
    "listApis",
    "listRegions",
    "listNetworkOfferings",
    "listVPCOfferings",
    "listHosts",
    "createNetwork",
    "listNetworks",
    "updateNetwork",
    "deleteNetwork",
    "restartNetwork",
    "createVPC",
    "listVPCs",
    "deleteVPC",
    "listPublicIpAddresses",
    "associateIpAddress",
    "disassociateIpAddress",
    "enableStaticNat",
    "disableStaticNat",
    "listPortForwardingRules",
    "createPortForwardingRule",
    "deletePortForwardingRule",
    "listIpForwardingRules",
    "listFirewallRules",
    "createFirewallRule",
    "deleteFirewallRule",
    "listEgressFirewallRules",
    "createEgressFirewallRule",
    "deleteEgressFirewallRule",
    "createNetworkACLList",
    "listNetworkACLLists",
    "deleteNetworkACLList",
    "createNetworkACL",
    "listNetworkACLs",
    "deleteNetworkACL",
    "replaceNetworkACLList",
    "createSecurityGroup",
    "listSecurityGroups",
    "deleteSecurityGroup",
    "authorizeSecurityGroupIngress",
    "authorizeSecurityGroupEgress",
    "revokeSecurityGroupIngress",
    "revokeSecurityGroupEgress",
    "deployVirtualMachine",
    "listVirtualMachines",
    "startVirtualMachine",
    "stopVirtualMachine",
    "rebootVirtualMachine",
    "destroyVirtualMachine",
    "recoverVirtualMachine",
    "expungeVirtualMachine",
    "updateVirtualMachine",
    "scaleVirtualMachine",
    "changeServiceForVirtualMachine",
    "resetSSHKeyForVirtualMachine",
    "resetUserDataForVirtualMachine",
    "getVirtualMachineUserData",
    "addNicToVirtualMachine",
    "removeNicFromVirtualMachine",
    "createVolume",
    "listVolumes",
    "attachVolume",
    "detachVolume",
    "deleteVolume",
    "destroyVolume",
    "resizeVolume",
    "updateVolume",
    "createTags",
    "deleteTags",
    "listTags",
    "createSSHKeyPair",
    "registerSSHKeyPair",
    "listSSHKeyPairs",
    "deleteSSHKeyPair",
    "registerUserData",
    "listUserData",
    "deleteUserData",
    "listAccounts",
    "listUsers",
    "getUser",
    "listDomains",
    "listProjects",
    "createProject",
    "listProjectAccounts",
    "getUserKeys",
    "registerUserKeys",
    "listResourceLimits",
    "updateResourceLimit",
    "queryAsyncJobResult",
    "listAsyncJobs",
    "listEvents",
    "login",
    "logout",
]


def corrections(commands: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Parts of an entry to replace, by command."""
    group = commands["listSecurityGroups"]["response"]
    account_fields = ("account", "accountid", "accounttype", "userid", "username", "role", "user", "projectroleid")
    kinds = {"accounttype": "int", "user": "list<map>"}
    member = {field: kinds.get(field, "string") for field in account_fields}
    return {
        # Recorded replies are what the catalogue goes by; the server's source shows that this is a create command too.
        "createProject": {"submit_returns_id": True},
        # The job of a scale answers the machine; the catalogue's success form is what some listApis claim.
        "scaleVirtualMachine": {
            "response_kind": "object",
            "response_key": "virtualmachine",
            "response": commands["startVirtualMachine"]["response"],
        },
        # The job answers the group with its new rules; the catalogue holds the Go client's unwrapped rule.
        "authorizeSecurityGroupIngress": {"response": group},
        "authorizeSecurityGroupEgress": {"response": group},
        # The catalogue repeats the project's fields; the rows are memberships.
        "listProjectAccounts": {"response": {**commands["listProjectAccounts"]["response"], "projectid": "string",
                                             "project": "string", **member}},
    }  # fmt: skip


def reduce_command(entry: dict[str, Any]) -> dict[str, Any]:
    """One command of the full catalogue, in the simulator's form."""
    params = {}
    for name, param in sorted(entry["params"].items()):
        kept = {"type": param["type"]}
        if param.get("required"):
            kept["required"] = True
        params[name] = kept
    reduced = {
        "async": bool(entry["async"]),
        "kind": entry["response_kind"],
        "key": entry["response_key"],
        "params": params,
        "response": entry["response"],
    }
    if entry.get("submit_returns_id"):
        reduced["submit_id"] = True
    return reduced


def build(full: dict[str, Any]) -> dict[str, Any]:
    """The whole reduced catalogue, from the parsed full one."""
    commands = full["commands"]
    changed = corrections(commands)
    chosen = {name: reduce_command({**commands[name], **changed.get(name, {})}) for name in sorted(COMMANDS)}
    return {"version": full["version"], "commands": chosen}


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__)
        return 2
    full = json.loads(pathlib.Path(arguments[0]).read_text())
    output = pathlib.Path(arguments[1]) if len(arguments) == 2 else OUTPUT
    output.write_text(json.dumps(build(full), separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{len(COMMANDS)} commands written to {output.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
