"""Networks, VPCs, addresses and the rules on them."""

import pytest


def isolated(cloud, **params):
    """Parameters of an isolated network."""
    offering = cloud.uuid("listNetworkOfferings", "DefaultIsolatedNetworkOfferingWithSourceNatService")
    return {"zoneid": cloud.zone, "networkofferingid": offering, "name": "n", **params}


def test_a_network_is_made_at_once_and_implemented_by_its_first_machine(cloud):
    """createNetwork answers the object in state Allocated, with the zone's default addressing."""
    row = cloud.demo.call("createNetwork", **isolated(cloud))["network"]
    assert (row["state"], row["cidr"], row["gateway"]) == ("Allocated", "10.1.1.0/24", "10.1.1.1")
    assert (row["netmask"], row["egressdefaultpolicy"]) == ("255.255.255.0", False)
    assert cloud.demo.job_refusal("restartNetwork", id=row["id"]).status == 431
    cloud.machine("a", networkids=row["id"])
    assert cloud.demo.one("listNetworks", id=row["id"])["state"] == "Implemented"
    assert cloud.demo.run("restartNetwork", id=row["id"]) == {"success": True}


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({"gateway": "10.5.0.1"}, 431, "must be passed in together"),
        ({"gateway": "10.5.0.1", "netmask": "255.255.0.255"}, 431, "Invalid gateway"),
        ({"gateway": "ten", "netmask": "255.255.255.0"}, 431, "Invalid gateway"),
        ({"startip": "10.5.0.5"}, 431, "Gateway and netmask should be defined"),
        ({"vlan": "100"}, 431, "Only ROOT admin"),
        ({"networkofferingid": "SHARED"}, 531, "Shared"),
        ({"networkofferingid": "TIER"}, 431, "can be used for VPC networks only"),
        ({"networkdomain": "-bad-"}, 431, "Invalid network domain"),
        ({"aclid": "DENY"}, 431, "does not belong to a VPC"),
        ({"name": None}, 431, "missing parameter name"),
    ],
)
def test_a_bad_network_is_refused(cloud, params, status, text):
    """With the code and stage of the server."""
    words = {
        "SHARED": cloud.uuid("listNetworkOfferings", "DefaultSharedNetworkOffering"),
        "TIER": cloud.uuid("listNetworkOfferings", "DefaultIsolatedNetworkOfferingForVpcNetworks"),
        "DENY": cloud.uuid("listNetworkACLLists", "default_deny"),
    }
    sent = {name: words.get(value, value) for name, value in params.items()}
    failure = cloud.demo.refusal("createNetwork", **isolated(cloud, **sent))
    assert (failure.status, text in failure.body["errortext"]) == (status, True)


def test_a_network_in_use_cannot_be_deleted(cloud):
    """Not even with a destroyed machine on it; the job says no more than that it failed."""
    network = cloud.network("n")
    vm = cloud.machine("a", networkids=network)["id"]
    cloud.demo.run("destroyVirtualMachine", id=vm)
    failure = cloud.demo.job_refusal("deleteNetwork", id=network)
    assert (failure.status, failure.body["errortext"]) == (530, "Failed to delete network")
    cloud.demo.run("expungeVirtualMachine", id=vm)
    assert cloud.demo.run("deleteNetwork", id=network) == {"success": True}
    assert cloud.demo.call("listNetworks", id=network) == {}
    assert cloud.demo.rows("listPublicIpAddresses") == []


def test_shared_networks_are_seen_by_all_and_changed_by_their_owner(cloud):
    """Users may use it, not delete it."""
    shared = cloud.demo.one("listNetworks", type="Shared")
    assert "account" not in shared
    assert cloud.demo.refusal("deleteNetwork", id=shared["id"]).status == 531
    assert cloud.demo.rows("listNetworks", networkfilter="Account") == []
    assert cloud.demo.refusal("listNetworks", networkfilter="Mine").status == 431


def test_networks_are_updated_by_a_job(cloud):
    """Names at any time, the domain without running machines."""
    network = cloud.network("n")
    row = cloud.demo.run("updateNetwork", id=network, name="m", displaytext="t", networkdomain="x.y")["network"]
    assert (row["name"], row["displaytext"], row["networkdomain"]) == ("m", "t", "x.y")
    cloud.machine("a", networkids=network)
    assert cloud.demo.job_refusal("updateNetwork", id=network, networkdomain="z").status == 431


def test_networks_count_against_the_quota(make_world):
    """535 at once."""
    world = make_world(limits={"network": 1, "vpc": 0})
    world.network("one")
    assert world.demo.refusal("createNetwork", **isolated(world)).status == 535
    offering = world.uuid("listVPCOfferings", "Default VPC offering")
    values = {"zoneid": world.zone, "vpcofferingid": offering, "name": "v", "cidr": "10.0.0.0/16"}
    assert world.demo.refusal("createVPC", **values).status == 535


def test_tiers_carve_up_their_vpc(cloud):
    """Inside its CIDR, apart from each other; the VPC shows them and cannot go before them."""
    vpc = cloud.vpc()
    assert cloud.demo.one("listPublicIpAddresses", vpcid=vpc)["issourcenat"] is True
    tier = cloud.tier(vpc, "t1")
    offering = cloud.uuid("listNetworkOfferings", "DefaultIsolatedNetworkOfferingForVpcNetworks")
    values = {"zoneid": cloud.zone, "networkofferingid": offering, "name": "t2", "vpcid": vpc}
    for params, text in (
        ({}, "Gateway/netmask are required"),
        ({"gateway": "10.9.0.1", "netmask": "255.255.0.0"}, "crosses other network cidr"),
        ({"gateway": "192.168.1.1", "netmask": "255.255.255.0"}, "not within vpc cidr"),
        ({"gateway": "10.0.1.129", "netmask": "255.255.255.128"}, "crosses other network cidr"),
    ):
        wanted = "not within vpc cidr" if params.get("gateway") == "10.9.0.1" else text
        assert wanted in cloud.demo.refusal("createNetwork", **{**values, **params}).body["errortext"]
    vm = cloud.machine("a", networkids=tier)
    assert (vm["nic"][0]["ipaddress"], vm["nic"][0]["vpcid"]) == ("10.0.1.2", vpc)
    assert [row["name"] for row in cloud.demo.one("listVPCs")["network"]] == ["t1"]
    failure = cloud.demo.job_refusal("deleteVPC", id=vpc)
    assert (failure.status, "its used by 1 networks" in failure.body["errortext"]) == (431, True)
    cloud.demo.run("destroyVirtualMachine", id=vm["id"], expunge="true")
    cloud.demo.run("deleteNetwork", id=tier)
    cloud.demo.run("deleteVPC", id=vpc)
    assert (cloud.demo.rows("listVPCs"), cloud.demo.rows("listPublicIpAddresses")) == ([], [])


@pytest.mark.parametrize("cidr", [None, "10.0.0.1/16", "nonsense", "8.8.8.0/24"])
def test_a_vpc_needs_a_good_cidr(cloud, cidr):
    """431 at once: it is a create command."""
    offering = cloud.uuid("listVPCOfferings", "Default VPC offering")
    values = {"zoneid": cloud.zone, "vpcofferingid": offering, "name": "v", "cidr": cidr}
    assert cloud.demo.refusal("createVPC", **values).status == 431


def test_acl_lists_and_items(cloud):
    """Numbers are unique and default to the next; the default lists cannot be changed."""
    vpc = cloud.vpc()
    tier = cloud.tier(vpc, "t1")
    acl = cloud.demo.run("createNetworkACLList", name="web", vpcid=vpc)["networkacllist"]["id"]
    call = {"aclid": acl, "protocol": "TCP", "startport": 80, "cidrlist": "10.0.0.0/8,192.168.0.0/16"}
    item = cloud.demo.run("createNetworkACL", **call, number=10, action="deny")["networkacl"]
    assert (item["startport"], item["endport"], item["number"], item["action"]) == ("80", "80", 10, "Deny")
    assert (item["protocol"], item["cidrlist"]) == ("tcp", "10.0.0.0/8,192.168.0.0/16")
    assert cloud.demo.run("createNetworkACL", **call)["networkacl"]["number"] == 11
    for params, text in (
        ({"number": 10}, "already exists in ACL"),
        ({"number": 0}, "cannot be < 1"),
        ({"action": "maybe"}, "Invalid action"),
        ({"protocol": "all"}, "only when protocol is tcp or udp"),
        ({"protocol": "icmp", "startport": None}, "icmpType and icmpCode"),
        ({"cidrlist": "10.0.0.0/99"}, "Source cidrs formatting error"),
        ({"startport": 70000}, "Invalid port number"),
        ({"aclid": cloud.uuid("listNetworkACLLists", "default_deny")}, "Default ACL cannot be modified"),
    ):
        assert text in cloud.demo.refusal("createNetworkACL", **{**call, **params}).body["errortext"]
    cloud.demo.run("replaceNetworkACLList", aclid=acl, networkid=tier)
    assert cloud.demo.one("listNetworks", id=tier)["aclname"] == "web"
    assert cloud.demo.job_refusal("deleteNetworkACLList", id=acl).status == 431
    assert [row["number"] for row in cloud.demo.rows("listNetworkACLs", networkid=tier)] == [11, 10]
    assert cloud.demo.names("listNetworkACLLists", vpcid=vpc) == {"web", "default_allow", "default_deny"}
    assert cloud.other.names("listNetworkACLLists") == {"default_allow", "default_deny"}
    cloud.demo.run("deleteNetworkACL", id=item["id"])
    cloud.demo.run("replaceNetworkACLList", aclid=cloud.uuid("listNetworkACLLists", "default_allow"), networkid=tier)
    cloud.demo.run("deleteNetworkACLList", id=acl)


def test_an_acl_item_for_a_bare_tier_makes_its_list(cloud):
    """Named after VPC and tier."""
    vpc = cloud.vpc()
    tier = cloud.tier(vpc, "t1")
    item = cloud.demo.run("createNetworkACL", networkid=tier, protocol="all")["networkacl"]
    assert item["aclname"].startswith("VPC_v_Tier_t1_ACL_")
    assert cloud.demo.one("listNetworks", id=tier)["aclid"] == item["aclid"]


def test_addresses_are_acquired_used_and_released(cloud):
    """The job's result still says Allocating; source NAT addresses cannot be released."""
    network = cloud.network("n")
    vm = cloud.machine("a", networkids=network)["id"]
    ip = cloud.demo.run("associateIpAddress", networkid=network)["ipaddress"]
    assert (ip["state"], ip["associatednetworkid"]) == ("Allocating", network)
    assert cloud.demo.one("listPublicIpAddresses", id=ip["id"])["state"] == "Allocated"
    call = {"ipaddressid": ip["id"], "virtualmachineid": vm}
    assert cloud.demo.call("enableStaticNat", **call) == {"success": True}
    assert cloud.demo.one("listVirtualMachines")["publicip"] == ip["ipaddress"]
    second = cloud.demo.run("associateIpAddress", zoneid=cloud.zone)["ipaddress"]["id"]
    assert cloud.demo.refusal("enableStaticNat", ipaddressid=second, virtualmachineid=vm).status == 431
    rule = {"protocol": "tcp", "publicport": 80, "privateport": 80, "virtualmachineid": vm}
    assert cloud.demo.refusal("createPortForwardingRule", ipaddressid=ip["id"], **rule).status == 431
    source = cloud.demo.one("listPublicIpAddresses", issourcenat="true")["id"]
    assert cloud.demo.refusal("enableStaticNat", ipaddressid=source, virtualmachineid=vm).status == 431
    failure = cloud.demo.job_refusal("disassociateIpAddress", id=source)
    assert (failure.status, "source nat purposes" in failure.body["errortext"]) == (530, True)
    assert cloud.demo.run("disableStaticNat", ipaddressid=ip["id"]) == {"success": True}
    assert cloud.demo.job_refusal("disableStaticNat", ipaddressid=ip["id"]).status == 431
    made = cloud.demo.run("createPortForwardingRule", ipaddressid=ip["id"], **rule)["portforwardingrule"]
    assert (made["publicport"], made["privateendport"]) == ("80", "80")
    assert len(cloud.demo.rows("listFirewallRules", ipaddressid=ip["id"])) == 1
    assert cloud.demo.refusal("createPortForwardingRule", ipaddressid=ip["id"], **rule).status == 537
    assert cloud.demo.refusal("enableStaticNat", **call).status == 537
    cloud.demo.run("disassociateIpAddress", id=ip["id"])
    assert cloud.demo.rows("listPortForwardingRules") == []
    assert cloud.demo.rows("listFirewallRules") == []


def test_addresses_run_out(make_world):
    """533 at once for an address, through the job for the source NAT of a first machine."""
    from gceshim.simulator.settings import ZoneSettings

    world = make_world(zones=(ZoneSettings("Sandbox 1", public_cidr="192.0.2.0/28"),))
    network = world.network("n")
    for _ in range(4):
        world.demo.run("associateIpAddress", networkid=network)
    assert world.demo.refusal("associateIpAddress", networkid=network).status == 533
    other = world.network("m")
    values = world.deploy_values(networkids=other)
    assert world.demo.job_refusal("deployVirtualMachine", **values).status == 533


def test_firewall_and_egress_rules(cloud):
    """Ports are numbers here; overlaps are conflicts, equal ICMP rules are invalid."""
    network = cloud.network("n")
    ip = cloud.demo.run("associateIpAddress", networkid=network)["ipaddress"]["id"]
    call = {"ipaddressid": ip, "protocol": "tcp", "startport": 80, "endport": 90}
    rule = cloud.demo.run("createFirewallRule", **call)["firewallrule"]
    assert (rule["startport"], rule["endport"], rule["cidrlist"]) == (80, 90, "0.0.0.0/0")
    overlapping = cloud.demo.refusal("createFirewallRule", **{**call, "startport": 85})
    assert (overlapping.status, "85-90, conflicts with rule" in overlapping.body["errortext"]) == (537, True)
    icmp = {"ipaddressid": ip, "protocol": "icmp", "icmptype": 8, "icmpcode": 0}
    cloud.demo.run("createFirewallRule", **icmp)
    assert cloud.demo.refusal("createFirewallRule", **icmp).status == 431
    assert cloud.demo.refusal("createFirewallRule", **icmp, startport=1).status == 431
    assert cloud.demo.refusal("createFirewallRule", **call, icmptype=1).status == 431
    cloud.demo.run("deleteFirewallRule", id=rule["id"])
    egress = cloud.demo.run("createEgressFirewallRule", networkid=network, protocol="all")["firewallrule"]
    assert (egress["traffictype"], egress["cidrlist"]) == ("Egress", "10.1.1.0/24")
    assert [row["id"] for row in cloud.demo.rows("listEgressFirewallRules")] == [egress["id"]]
    assert cloud.demo.job_refusal("deleteFirewallRule", id=egress["id"]).status == 431
    cloud.demo.run("deleteEgressFirewallRule", id=egress["id"])
    assert cloud.demo.call("listEgressFirewallRules") == {}


def test_security_groups_and_their_rules(cloud):
    """One rule for each CIDR and source group; duplicates are skipped until nothing is left to do."""
    group = cloud.demo.call("createSecurityGroup", name="web", description="d")["securitygroup"]
    assert cloud.demo.refusal("createSecurityGroup", name="WEB").status == 431
    call = {"securitygroupid": group["id"], "protocol": "TCP", "startport": 80, "endport": 81}
    cidrs = {"cidrlist": "10.0.0.0/8,11.0.0.0/8"}
    made = cloud.demo.run("authorizeSecurityGroupIngress", **call, **cidrs)["securitygroup"]
    assert [rule["cidr"] for rule in made["ingressrule"]] == ["10.0.0.0/8", "11.0.0.0/8"]
    assert (made["ingressrule"][0]["protocol"], made["ingressrule"][0]["startport"]) == ("tcp", 80)
    more = {"usersecuritygrouplist[0].account": "demo", "usersecuritygrouplist[0].group": "default"}
    added = cloud.demo.run("authorizeSecurityGroupIngress", **call, **cidrs, **more)["securitygroup"]
    assert [rule.get("securitygroupname") for rule in added["ingressrule"]] == ["default"]
    again = cloud.demo.job_refusal("authorizeSecurityGroupIngress", **call, **cidrs)
    assert (again.status, "Failed to authorize" in again.body["errortext"]) == (530, True)
    for params in ({"protocol": "all"}, {"endport": None, "startport": None}, {"cidrlist": "x"}):
        values = {**call, **cidrs, **params}
        assert cloud.demo.job_refusal("authorizeSecurityGroupIngress", **values).status == 431
    row = cloud.demo.one("listSecurityGroups", securitygroupname="web")
    assert (len(row["ingressrule"]), row["egressrule"], row["virtualmachinecount"]) == (3, [], 0)
    rule = row["ingressrule"][0]["ruleid"]
    assert cloud.demo.job_refusal("revokeSecurityGroupEgress", id=rule).status == 431
    assert cloud.demo.run("revokeSecurityGroupIngress", id=rule) == {"success": True}
    egress = cloud.demo.run("authorizeSecurityGroupEgress", securitygroupname="web", cidrlist="0.0.0.0/0")
    assert egress["securitygroup"]["egressrule"][0]["protocol"] == "all"


def test_security_groups_in_use_cannot_be_deleted(cloud):
    """536 for members and references, 431 for default; by id or name."""
    group = cloud.demo.call("createSecurityGroup", name="web")["securitygroup"]["id"]
    vm = cloud.machine("a", zoneid=cloud.sg_zone, securitygroupids=group)["id"]
    assert cloud.demo.one("listSecurityGroups", virtualmachineid=vm)["name"] == "web"
    assert cloud.demo.refusal("deleteSecurityGroup", id=group).status == 536
    assert cloud.demo.refusal("updateVirtualMachine", id=vm, securitygroupnames="default").status == 431
    cloud.demo.run("stopVirtualMachine", id=vm)
    row = cloud.demo.call("updateVirtualMachine", id=vm, securitygroupnames="default")["virtualmachine"]
    assert [item["name"] for item in row["securitygroup"]] == ["default"]
    assert cloud.demo.refusal("deleteSecurityGroup", name="default").status == 431
    assert cloud.demo.refusal("deleteSecurityGroup").status == 431
    assert cloud.demo.call("deleteSecurityGroup", name="web") == {"success": True}
    assert cloud.demo.names("listSecurityGroups") == {"default"}


def test_key_pairs(cloud):
    """The private key is answered once; names and keys are unique in an account."""
    made = cloud.demo.call("createSSHKeyPair", name="k")["keypair"]
    assert made["privatekey"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert len(made["fingerprint"].split(":")) == 16
    row = cloud.demo.one("listSSHKeyPairs", name="k")
    assert (row["fingerprint"], "privatekey" in row) == (made["fingerprint"], False)
    assert cloud.demo.refusal("createSSHKeyPair", name="k").status == 431
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJXmcXgSPL1YrhzYkYEkGnRuvMuJbPzCzJUBM0iUSbVh a@b"
    cloud.demo.call("registerSSHKeyPair", name="r", publickey=key)
    assert "with key" in cloud.demo.refusal("registerSSHKeyPair", name="s", publickey=key).body["errortext"]
    bad = cloud.demo.refusal("registerSSHKeyPair", name="s", publickey="ssh-rsa nonsense")
    assert bad.body["errortext"] == "Public key is invalid"
    assert [row["name"] for row in cloud.demo.rows("listSSHKeyPairs")] == ["r", "k"]
    assert cloud.other.rows("listSSHKeyPairs") == []
    cloud.demo.call("deleteSSHKeyPair", name="k")
    assert "does not exist" in cloud.demo.refusal("deleteSSHKeyPair", name="k").body["errortext"]


def test_limits_are_listed_and_changed_by_administrators(cloud):
    """One row for each type; the type is a string, the maximum a number."""
    rows = cloud.demo.rows("listResourceLimits")
    assert [row["resourcetype"] for row in rows] == [str(number) for number in range(12)]
    assert {row["resourcetypename"]: row["max"] for row in rows}["user_vm"] == 100
    assert cloud.demo.one("listResourceLimits", resourcetype=8)["resourcetypename"] == "cpu"
    assert cloud.demo.refusal("listResourceLimits", resourcetype=99).status == 431
    assert cloud.demo.refusal("updateResourceLimit", resourcetype=0, max=1).status == 432
    row = cloud.admin.call("updateResourceLimit", account="demo", resourcetype=0, max=1)["resourcelimit"]
    assert (row["account"], row["max"]) == ("demo", 1)
    account = cloud.demo.one("listAccounts")
    assert (account["vmlimit"], account["vmavailable"], account["vmtotal"]) == ("1", "1", 0)
    assert cloud.admin.one("listAccounts")["vmlimit"] == "Unlimited"
