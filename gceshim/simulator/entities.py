"""What the simulated cloud holds: one dataclass per kind of record.

A record has the ``uuid`` that the API shows and an internal ``number`` that shows only in derived names
(``ROOT-7``, ``i-2-7-VM``), as in CloudStack's database.
"""

from dataclasses import dataclass, field


@dataclass(eq=False, kw_only=True)
class Record:
    """The part that all records share. ``created`` is in seconds since the epoch."""

    uuid: str
    number: int
    created: float
    removed: bool = False


@dataclass(eq=False, kw_only=True)
class Domain(Record):
    name: str
    parent: "Domain | None" = None

    @property
    def path(self) -> str:
        return self.name if self.parent is None else f"{self.parent.path}/{self.name}"

    def contains(self, other: "Domain") -> bool:
        """Whether ``other`` is this domain or lies below it."""
        at: Domain | None = other
        while at is not None:
            if at is self:
                return True
            at = at.parent
        return False


@dataclass(eq=False, kw_only=True)
class Account(Record):
    """An owner. ``kind`` is 0 user, 1 root admin, 2 domain admin; a project's hidden account has ``project``."""

    name: str
    domain: Domain
    kind: int = 0
    state: str = "enabled"
    project: "Project | None" = None
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class User(Record):
    """Who signs in. ``api_key`` and ``secret_key`` are empty until they are registered."""

    account: Account
    username: str
    password: str
    first_name: str
    last_name: str
    api_key: str = ""
    secret_key: str = ""
    state: str = "enabled"
    two_factor: bool = False
    api_key_access: bool = True
    failed_logins: int = 0

    @property
    def enabled(self) -> bool:
        """Whether neither the user nor the account is disabled or locked."""
        return (self.state, self.account.state) == ("enabled", "enabled")


@dataclass(eq=False, kw_only=True)
class Project(Record):
    """``members`` maps account to role, ``Admin`` or ``Regular``; ``account`` is the hidden owner of its resources."""

    name: str
    display_text: str
    account: Account
    members: dict[Account, str] = field(default_factory=dict)
    state: str = "Active"


@dataclass(eq=False, kw_only=True)
class Zone(Record):
    name: str
    security_groups: bool = False
    enabled: bool = True
    guest_cidr: str = "10.1.1.0/24"
    public_cidr: str = "192.168.100.0/22"


@dataclass(eq=False, kw_only=True)
class Host(Record):
    name: str
    zone: Zone


@dataclass(eq=False, kw_only=True)
class ServiceOffering(Record):
    """A custom offering has no ``cpus``; a constrained one has ``limits`` (min/max cpus and memory in MiB)."""

    name: str
    display_text: str
    cpus: int | None = None
    speed_mhz: int | None = None
    memory_mib: int | None = None
    limits: tuple[int, int, int, int] | None = None
    offer_ha: bool = False
    dynamic_scaling: bool = True
    system: bool = False

    @property
    def custom(self) -> bool:
        return self.cpus is None


@dataclass(eq=False, kw_only=True)
class DiskOffering(Record):
    name: str
    display_text: str
    size_gib: int = 0
    custom: bool = False


@dataclass(eq=False, kw_only=True)
class NetworkOffering(Record):
    name: str
    guest_type: str
    services: tuple[str, ...]
    router: ServiceOffering
    for_vpc: bool = False
    availability: str = "Optional"
    persistent: bool = False
    specify_vlan: bool = False
    egress_allow: bool = False
    conserve_mode: bool = True
    enabled: bool = True


@dataclass(eq=False, kw_only=True)
class VpcOffering(Record):
    name: str
    redundant: bool = False
    enabled: bool = True


@dataclass(eq=False, kw_only=True)
class OsCategory(Record):
    name: str


@dataclass(eq=False, kw_only=True)
class OsType(Record):
    description: str
    category: OsCategory


@dataclass(eq=False, kw_only=True)
class Template(Record):
    """A template, or an ISO when ``iso``."""

    name: str
    display_text: str
    account: Account
    os_type: OsType
    zones: list[Zone]
    size_gib: int
    iso: bool = False
    public: bool = False
    featured: bool = False
    ready: bool = True
    password_enabled: bool = False
    extractable: bool = False
    hypervisor: str = "KVM"
    image_format: str = "QCOW2"
    sort_key: int = 0


@dataclass(eq=False, kw_only=True)
class Vpc(Record):
    name: str
    display_text: str
    account: Account
    zone: Zone
    offering: VpcOffering
    cidr: str
    network_domain: str
    state: str = "Enabled"
    started: bool = False


@dataclass(eq=False, kw_only=True)
class AclList(Record):
    """A list of network ACL items; the two default lists have no VPC and no account."""

    name: str
    description: str
    vpc: Vpc | None = None
    account: Account | None = None


@dataclass(eq=False, kw_only=True)
class AclItem(Record):
    acl: AclList
    account: Account | None
    position: int
    protocol: str
    action: str
    traffic_type: str
    cidrs: list[str]
    start_port: int | None = None
    end_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    reason: str | None = None
    state: str = "Active"


@dataclass(eq=False, kw_only=True)
class Network(Record):
    """A guest network. A shared one that everybody may use has ``acl_type`` Domain."""

    name: str
    display_text: str
    account: Account
    zone: Zone
    offering: NetworkOffering
    network_domain: str
    cidr: str | None
    gateway: str | None
    acl_type: str = "Account"
    vpc: Vpc | None = None
    acl: AclList | None = None
    state: str = "Allocated"
    vlan: int = 0
    range_start: str | None = None
    range_end: str | None = None
    taken: dict[str, "Nic"] = field(default_factory=dict)

    @property
    def security_groups(self) -> bool:
        return "SecurityGroup" in self.offering.services


@dataclass(eq=False, kw_only=True)
class Nic(Record):
    network: Network
    mac: str
    address: str | None
    default: bool
    device: int
    vm: "Vm"
    secondary: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class SecurityGroup(Record):
    name: str
    description: str
    account: Account


@dataclass(eq=False, kw_only=True)
class SecurityGroupRule(Record):
    group: SecurityGroup
    account: Account
    ingress: bool
    protocol: str
    start_port: int | None = None
    end_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    cidr: str | None = None
    source: SecurityGroup | None = None


@dataclass(eq=False, kw_only=True)
class KeyPair(Record):
    name: str
    account: Account
    fingerprint: str
    public_key: str


@dataclass(eq=False, kw_only=True)
class UserData(Record):
    name: str
    account: Account
    content: str
    params: str | None = None


@dataclass(eq=False, kw_only=True)
class Vm(Record):
    """An instance. ``content`` of user data is base64; sizes are those in force, custom values included."""

    name: str
    display_name: str
    account: Account
    user: User
    zone: Zone
    offering: ServiceOffering
    template: Template
    cpus: int
    speed_mhz: int
    memory_mib: int
    os_type: OsType
    state: str = "Stopped"
    nics: list[Nic] = field(default_factory=list)
    groups: list[SecurityGroup] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    key_pairs: list[str] = field(default_factory=list)
    user_data: str | None = None
    registered_user_data: UserData | None = None
    host: Host | None = None
    last_host: Host | None = None
    ha: bool = False
    group: str | None = None
    dynamic: bool = False
    delete_protection: bool = False
    updated: float | None = None
    job_uuid: str | None = None

    @property
    def instance_name(self) -> str:
        return f"i-{self.account.number}-{self.number}-VM"

    @property
    def default_nic(self) -> Nic | None:
        return next((nic for nic in self.nics if nic.default), None)


@dataclass(eq=False, kw_only=True)
class Volume(Record):
    """A disk. ``kind`` is ROOT or DATADISK."""

    name: str
    account: Account
    zone: Zone
    kind: str
    size_bytes: int
    state: str = "Allocated"
    offering: DiskOffering | None = None
    template: Template | None = None
    vm: Vm | None = None
    device: int | None = None
    attached: float | None = None
    delete_protection: bool = False


@dataclass(eq=False, kw_only=True)
class PublicIp(Record):
    """An allocated public address; free addresses have no record."""

    address: str
    account: Account
    zone: Zone
    network: Network | None = None
    vpc: Vpc | None = None
    source_nat: bool = False
    static_nat_vm: Vm | None = None
    static_nat_address: str | None = None
    state: str = "Allocated"


@dataclass(eq=False, kw_only=True)
class FirewallRule(Record):
    """A rule on a public address, or an egress rule on a network (then ``ip`` is None)."""

    account: Account
    network: Network
    protocol: str
    cidrs: list[str]
    ip: PublicIp | None = None
    start_port: int | None = None
    end_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    dest_cidrs: list[str] = field(default_factory=list)
    state: str = "Active"


@dataclass(eq=False, kw_only=True)
class PortForwardingRule(Record):
    account: Account
    ip: PublicIp
    network: Network
    vm: Vm
    protocol: str
    public_port: int
    public_end_port: int
    private_port: int
    private_end_port: int
    guest_address: str | None = None
    state: str = "Active"


@dataclass(eq=False, kw_only=True)
class Tag(Record):
    """A key and value on a resource; ``account`` is the resource's owner."""

    key: str
    value: str
    resource_type: str
    resource: Record
    account: Account
    customer: str | None = None


@dataclass(eq=False, kw_only=True)
class Event(Record):
    account: Account
    username: str
    kind: str
    level: str
    description: str
    state: str
    parent: str | None = None
    resource: str | None = None
    resource_type: str | None = None


@dataclass(eq=False, kw_only=True)
class Job(Record):
    """An asynchronous job. ``status`` is 0 pending, 1 done, 2 failed; ``result`` never changes once set."""

    account: Account
    user: User
    command: str
    java_class: str
    instance_type: str | None = None
    instance_uuid: str | None = None
    status: int = 0
    result_code: int = 0
    result: object = None
    completed: float | None = None
