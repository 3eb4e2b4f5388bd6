"""The default contents of a simulated cloud: who may call, what can be had, and ready-made machines for benchmarks."""

from gceshim.simulator import entities as model
from gceshim.simulator.settings import SimulatorSettings, UserSettings
from gceshim.simulator.state import State

GIB = 1024**3

#: name, display text, vCPUs, MHz, memory in MiB. Those from Shared Micro on have the shapes of predefined
#: machine types of other clouds.
FIXED_OFFERINGS = (
    ("Small Instance", "Small Instance", 1, 500, 1024),
    ("Medium Instance", "Medium Instance", 1, 1000, 2048),
    ("Shared Micro", "2 vCPU, 1 GB, shared core", 2, 1000, 1024),
    ("Shared Small", "2 vCPU, 2 GB, shared core", 2, 1000, 2048),
    ("Shared Medium", "2 vCPU, 4 GB, shared core", 2, 1000, 4096),
    ("Standard 1", "1 vCPU, 3.75 GB", 1, 2000, 3840),
    ("Standard 2", "2 vCPU, 7.5 GB", 2, 2000, 7680),
    ("Standard 4", "4 vCPU, 15 GB", 4, 2000, 15360),
    ("Large Instance", "2 vCPU, 8 GB", 2, 2000, 8192),
    ("XLarge Instance", "4 vCPU, 16 GB", 4, 2000, 16384),
)

DISK_OFFERINGS = (("Small", 5), ("Medium", 20), ("Large", 100), ("Custom", 0))

NETWORK_SERVICES = ("Dhcp", "Dns", "Firewall", "Lb", "PortForwarding", "SourceNat", "StaticNat", "UserData", "Vpn")
TIER_SERVICES = ("Dhcp", "Dns", "Lb", "NetworkACL", "PortForwarding", "SourceNat", "StaticNat", "UserData", "Vpn")

#: name, guest type, services, further fields.
NETWORK_OFFERINGS: tuple[tuple[str, str, tuple[str, ...], dict[str, object]], ...] = (
    ("DefaultIsolatedNetworkOfferingWithSourceNatService", "Isolated", NETWORK_SERVICES, {"availability": "Required"}),
    ("DefaultIsolatedNetworkOffering", "Isolated", ("Dhcp", "Dns", "UserData"), {"specify_vlan": True}),
    ("DefaultSharedNetworkOffering", "Shared", ("Dhcp", "Dns", "UserData"), {"specify_vlan": True}),
    (
        "DefaultSharedNetworkOfferingWithSGService",
        "Shared",
        ("Dhcp", "Dns", "SecurityGroup", "UserData"),
        {"specify_vlan": True},
    ),
    ("DefaultIsolatedNetworkOfferingForVpcNetworks", "Isolated", TIER_SERVICES, {"for_vpc": True}),
    (
        "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB",
        "Isolated",
        tuple(name for name in TIER_SERVICES if name != "Lb"),
        {"for_vpc": True},
    ),
    ("DefaultL2NetworkOffering", "L2", (), {}),
)

OS_CATEGORIES = ("CentOS", "Debian", "Windows", "Other", "Ubuntu", "Rocky Linux")

#: description, category
OS_TYPES = (
    ("Debian GNU/Linux 11 (64-bit)", "Debian"),
    ("Debian GNU/Linux 12 (64-bit)", "Debian"),
    ("Ubuntu 22.04 LTS", "Ubuntu"),
    ("Ubuntu 24.04 LTS", "Ubuntu"),
    ("Rocky Linux 9", "Rocky Linux"),
    ("CentOS Stream 9", "CentOS"),
    ("Windows Server 2022 (64-bit)", "Windows"),
    ("Other Linux (64-bit)", "Other"),
)

#: name, display text, OS type, size in GiB, owner, public, featured, password enabled
TEMPLATES = (
    ("Debian 12", "Debian 12 (bookworm), cloud-init", OS_TYPES[1][0], 10, "admin", True, True, False),
    ("Debian 11", "Debian 11 (bullseye), cloud-init", OS_TYPES[0][0], 10, "admin", True, True, False),
    ("Ubuntu 22.04 LTS", "Ubuntu 22.04 LTS (jammy), cloud-init", OS_TYPES[2][0], 10, "admin", True, True, False),
    ("Ubuntu 24.04 LTS", "Ubuntu 24.04 LTS (noble), cloud-init", OS_TYPES[3][0], 10, "admin", True, True, False),
    ("Rocky Linux 9", "Rocky Linux 9, cloud-init", OS_TYPES[4][0], 20, "admin", True, True, False),
    ("CentOS Stream 9", "CentOS Stream 9, cloud-init", OS_TYPES[5][0], 20, "admin", True, True, False),
    ("Windows Server 2022", "Windows Server 2022 Datacenter", OS_TYPES[6][0], 50, "admin", True, True, True),
    ("Community Alpine", "Alpine Linux by other", OS_TYPES[7][0], 2, "other", True, False, False),
    ("demo-golden", "A private template of demo", OS_TYPES[1][0], 12, "demo", False, False, False),
)


def fill(state: State, settings: SimulatorSettings) -> None:
    """Enter the whole data set into empty tables."""
    accounts = _identity(state)
    for zone in settings.zones:
        _zone(state, settings, accounts["admin"], zone.name)
    _offerings(state, settings)
    _templates(state, accounts)
    _networks(state, accounts["admin"])
    state.default_allow = state.new(model.AclList, name="default_allow", description="Default Network ACL Allow All")
    state.default_deny = state.new(model.AclList, name="default_deny", description="Default Network ACL Deny All")
    for acl, action in ((state.default_deny, "Deny"), (state.default_allow, "Allow")):
        for position, direction in ((1, "Ingress"), (2, "Egress")):
            state.new(
                model.AclItem,
                acl=acl,
                account=None,
                position=position,
                protocol="all",
                action=action,
                traffic_type=direction,
                cidrs=["0.0.0.0/0"],
            )
    if settings.machines:
        _machines(state, settings, accounts[settings.machines_account])
    for user in settings.users:
        _user(state, user)


def _identity(state: State) -> dict[str, model.Account]:
    root = state.new(model.Domain, name="ROOT")
    branch = state.new(model.Domain, name="branch", parent=root)
    accounts = {}
    for name, domain, kind, first, last in (
        ("admin", root, 1, "Root", "Admin"),
        ("demo", root, 0, "Demo", "User"),
        ("other", root, 0, "Other", "User"),
        ("branch-admin", branch, 2, "Branch", "Admin"),
        ("branch-user", branch, 0, "Branch", "User"),
    ):
        account = state.new(model.Account, name=name, domain=domain, kind=kind)
        accounts[name] = account
        state.new(
            model.User,
            account=account,
            username=name,
            password="password",  # noqa: S106 - the simulator's well-known password
            api_key=f"{name}-api-key",
            secret_key=f"{name}-secret-key",
            first_name=first,
            last_name=last,
        )
    hidden = state.new(model.Account, name="PrjAcct-team-1", domain=root, kind=5)
    team = state.new(model.Project, name="team", display_text="The team's project", account=hidden)
    team.members[accounts["demo"]] = "Admin"
    hidden.project = team
    return accounts


def _user(state: State, wanted: UserSettings) -> None:
    """A user in an account of their own, and the domains down to it."""
    domain = next(iter(state.rows(model.Domain)))
    for name in filter(None, wanted.domain.split("/")):
        below = next((row for row in state.rows(model.Domain) if (row.name, row.parent) == (name, domain)), None)
        domain = below or state.new(model.Domain, name=name, parent=domain)
    account = state.new(model.Account, name=wanted.name, domain=domain)
    state.new(
        model.User,
        account=account,
        username=wanted.name,
        password=wanted.password,
        api_key=f"{wanted.name}-api-key" if wanted.keys else "",
        secret_key=f"{wanted.name}-secret-key" if wanted.keys else "",
        first_name=wanted.name.title(),
        last_name="User",
        state="enabled" if wanted.enabled else "disabled",
        two_factor=wanted.two_factor,
        api_key_access=wanted.api_key_access,
    )


def _zone(state: State, settings: SimulatorSettings, admin: model.Account, name: str) -> None:
    wanted = next(zone for zone in settings.zones if zone.name == name)
    zone = state.new(
        model.Zone,
        name=wanted.name,
        security_groups=wanted.security_groups,
        enabled=wanted.enabled,
        guest_cidr=wanted.guest_cidr,
        public_cidr=wanted.public_cidr,
    )
    for index in range(1, wanted.hosts + 1):
        host = state.new(model.Host, name=f"kvm-{zone.number}-{index:02d}", zone=zone)
        state.hosts.append(host)


def _offerings(state: State, settings: SimulatorSettings) -> None:
    for name, text, cpus, speed_mhz, memory_mib in FIXED_OFFERINGS:
        state.new(
            model.ServiceOffering,
            name=name,
            display_text=text,
            cpus=cpus,
            speed_mhz=speed_mhz,
            memory_mib=memory_mib,
        )
    if settings.custom_offerings:
        state.new(model.ServiceOffering, name="Custom Instance", display_text="Any vCPUs and memory")
        state.new(
            model.ServiceOffering,
            name="Custom Constrained",
            display_text="1 to 8 vCPUs, 512 MB to 16 GB",
            speed_mhz=2000,
            limits=(1, 8, 512, 16384),
        )
    for name, size_gib in DISK_OFFERINGS:
        state.new(
            model.DiskOffering,
            name=name,
            display_text=f"{name} Disk, {size_gib} GB" if size_gib else "Custom Disk",
            size_gib=size_gib,
            custom=size_gib == 0,
        )
    router = state.new(
        model.ServiceOffering,
        name="System Offering For Software Router",
        display_text="System Offering For Software Router",
        cpus=1,
        speed_mhz=500,
        memory_mib=256,
        system=True,
    )
    for name, guest_type, services, more in NETWORK_OFFERINGS:
        state.new(model.NetworkOffering, name=name, guest_type=guest_type, services=services, router=router, **more)
    state.new(model.VpcOffering, name="Default VPC offering")
    state.new(model.VpcOffering, name="Redundant VPC offering", redundant=True)


def _templates(state: State, accounts: dict[str, model.Account]) -> None:
    categories = {name: state.new(model.OsCategory, name=name) for name in OS_CATEGORIES}
    kinds = {
        text: state.new(model.OsType, description=text, category=categories[category]) for text, category in OS_TYPES
    }
    zones = state.snapshot(model.Zone)
    for order, (name, text, kind, size_gib, owner, public, featured, password) in enumerate(TEMPLATES):
        state.new(
            model.Template,
            name=name,
            display_text=text,
            account=accounts[owner],
            os_type=kinds[kind],
            zones=zones,
            size_gib=size_gib,
            public=public,
            featured=featured,
            password_enabled=password,
            extractable=owner != "admin",
            sort_key=order,
        )
    state.new(
        model.Template,
        name="Debian 12 netinst",
        display_text="Debian 12 installer",
        account=accounts["admin"],
        os_type=kinds[OS_TYPES[1][0]],
        zones=zones,
        size_gib=1,
        iso=True,
        public=True,
        featured=True,
        image_format="ISO",
    )


def _networks(state: State, admin: model.Account) -> None:
    offering = state.named(model.NetworkOffering, "DefaultSharedNetworkOfferingWithSGService")
    for zone in state.snapshot(model.Zone):
        if zone.security_groups:
            state.new(
                model.Network,
                name="sg-shared",
                display_text="Shared network with security groups",
                account=admin,
                zone=zone,
                offering=offering,
                network_domain="cloud.internal",
                cidr="10.20.0.0/16",
                gateway="10.20.0.1",
                acl_type="Domain",
                state="Setup",
                vlan=100,
                range_start="10.20.0.10",
                range_end="10.20.255.250",
            )


def _machines(state: State, settings: SimulatorSettings, account: model.Account) -> None:
    """Running machines ``machine-00001``... on networks of 2,000 each, all in the first zone."""
    zone = next(iter(state.rows(model.Zone)))
    user = next(user for user in state.rows(model.User) if user.account is account)
    offering = next(iter(state.rows(model.ServiceOffering)))
    template = next(iter(state.rows(model.Template)))
    hosts = [host for host in state.hosts if host.zone is zone]
    isolated = state.required_isolated_offering()
    for name in ("user_vm", "volume", "cpu", "memory", "primary_storage", "network"):
        account.limits[name] = -1
    network = None
    for index in range(settings.machines):
        if index % 2000 == 0:
            network = state.new(
                model.Network,
                name=f"bulk-{index // 2000 + 1}",
                display_text="Network of ready-made machines",
                account=account,
                zone=zone,
                offering=isolated,
                network_domain=f"cs{index // 2000 + 1}bulk.internal",
                cidr="10.64.0.0/16",
                gateway="10.64.0.1",
                state="Implemented",
                vlan=500 + index // 2000,
            )
        vm = state.new(
            model.Vm,
            name=f"machine-{index + 1:05d}",
            display_name=f"machine-{index + 1:05d}",
            account=account,
            user=user,
            zone=zone,
            offering=offering,
            template=template,
            cpus=offering.cpus,
            speed_mhz=offering.speed_mhz,
            memory_mib=offering.memory_mib,
            os_type=template.os_type,
            state="Running",
            host=hosts[index % len(hosts)] if hosts else None,
        )
        if network is None:
            continue
        slot = index % 2000 + 2
        nic = state.new(
            model.Nic,
            network=network,
            mac=f"02:01:00:{index >> 16 & 255:02x}:{index >> 8 & 255:02x}:{index & 255:02x}",
            address=f"10.64.{slot // 256}.{slot % 256}",
            default=True,
            device=0,
            vm=vm,
        )
        vm.nics.append(nic)
        network.taken[f"10.64.{slot // 256}.{slot % 256}"] = nic
        state.new(
            model.Volume,
            name=f"ROOT-{vm.number}",
            account=account,
            zone=zone,
            kind="ROOT",
            size_bytes=template.size_gib * GIB,
            state="Ready",
            template=template,
            vm=vm,
            device=0,
            attached=vm.created,
        )
