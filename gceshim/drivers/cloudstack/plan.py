"""What a new machine needs, decided before anything is made and kept as JSON in the operation's journal."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gceshim.drivers import errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.catalog import Catalog, Choice
from gceshim.drivers.cloudstack.disk_types import DiskChoice
from gceshim.drivers.cloudstack.images import Images
from gceshim.drivers.cloudstack.instance_disks import InstanceDisks
from gceshim.drivers.cloudstack.layout import Layout, Place
from gceshim.drivers.cloudstack.locations import Locations
from gceshim.drivers.cloudstack.names import slug
from gceshim.drivers.cloudstack.networks import Networks, no_network, no_subnetwork
from gceshim.drivers.cloudstack.rows import flag, rows, text
from gceshim.drivers.cloudstack.userdata import build, encoded
from gceshim.model import DEFAULT_NETWORK, GIB, ImageState, InstanceSpec, InterfaceSpec, NetworkKind, Tenant, Zone

_FORESEEN_SECONDS: Final = 2.0
_MOST_FORESEEN: Final = 1000


@dataclass(frozen=True, slots=True)
class Nic:
    """
    One interface. `network_id` "": the default network, which has to be made first. `mark`: the network is the
    default one by circumstance, and is to be marked as such.

    `shared`: its own address is the one reached from outside. `external` None: no way in. `public_id` "": an
    ephemeral public address.
    """

    network_id: str
    vpc_id: str
    shared: bool
    mark: bool
    address: str
    external: str | None
    public_id: str
    public_address: str


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The CloudStack ids and numbers of a new machine. The sizes are None on a fixed offering.

    `any_network`: the zone has but one network, which CloudStack wants to choose itself. `disks`: beside the boot disk,
    as `InstanceDisks` plans them. `root_offering_id` "": the boot disk lies where the machine type's offering says.
    """

    zone_id: str
    template_id: str
    offering_id: str
    vcpus: int | None
    memory_mib: int | None
    clock_mhz: int | None
    root_gib: int | None
    any_network: bool
    nics: tuple[Nic, ...]
    disks: tuple[Mapping[str, Any], ...] = ()
    root_offering_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return {**asdict(self), "nics": [asdict(nic) for nic in self.nics]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """From the journal."""
        return cls(
            **{**value, "nics": tuple(Nic(**nic) for nic in value["nics"]), "disks": tuple(value.get("disks", ()))}
        )


class Foreseen:
    """
    The plans that were made when machines were asked for, each for the operation that follows at once.

    What has changed since is found out where it would be too had it changed a moment later: the name is looked at again
    when the machine is there, and CloudStack knows the rest.
    """

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[str, str, str], tuple[float, InstanceSpec, Plan]] = OrderedDict()

    def keep(self, tenant: Tenant, spec: InstanceSpec, plan: Plan) -> None:
        """For a short time."""
        key = (tenant.owner, spec.zone, spec.name)
        self._plans[key] = (time.monotonic() + _FORESEEN_SECONDS, spec, plan)
        self._plans.move_to_end(key)
        while len(self._plans) > _MOST_FORESEEN:
            self._plans.popitem(last=False)

    def take(self, tenant: Tenant, spec: InstanceSpec) -> Plan | None:
        """The plan for just this, once; None where there is none that is new."""
        until, planned, plan = self._plans.pop((tenant.owner, spec.zone, spec.name), (0.0, None, None))
        return plan if planned == spec and time.monotonic() < until else None


class Planner:
    """Turns what is asked for into a plan, by reads alone."""

    def __init__(
        self,
        backend: Backend,
        *,
        locations: Locations,
        catalog: Catalog,
        images: Images,
        networks: Networks,
        disks: InstanceDisks,
    ) -> None:
        self._backend = backend
        self._locations = locations
        self._catalog = catalog
        self._images = images
        self._networks = networks
        self._disks = disks

    async def plan(self, tenant: Tenant, spec: InstanceSpec) -> Plan:
        """
        The plan for a new machine.

        :raises NotFound: zone, machine type, image, network or address is not there. :raises Invalid: a bad value.
        """
        zone = await self._locations.zone(tenant, spec.zone)
        if not zone.up:
            raise errors.Unsupported(f"Zone {zone.name!r} is closed by its operator", kind="zone", name=zone.name)
        choice = await self._catalog.choice(tenant, zone, spec.machine_type)
        template = await self._images.find(tenant, spec.image, zone)
        if template.image.state is not ImageState.READY:
            raise errors.NotReady(
                f"Image {template.image.name!r} is not ready", kind="image", name=template.image.name, field="image"
            )
        document = build(spec.metadata, spec.project_metadata, spec.hostname)
        encoded(document, self._backend.settings.user_data_limit_bytes)
        layout = await self._networks.layout(tenant, fresh=True)
        nics = [
            await self._nic(tenant, zone, layout, wanted, f"interfaces[{index}]")
            for index, wanted in enumerate(spec.interfaces or (InterfaceSpec(network=""),))
        ]
        ids = [nic.network_id for nic in nics]
        if len(set(ids)) != len(ids):
            raise errors.Invalid("Two interfaces are in one network", field="interfaces")
        basic = await self._locations.is_basic(tenant, zone)
        boot = await self._disks.boot_choice(tenant, zone, spec)
        root_offering_id, root_disk_gib = boot_disk(boot, spec.boot_disk_size_bytes, template.image.disk_size_bytes)
        return Plan(
            zone_id=zone.backend_id,
            template_id=template.image.backend_id,
            offering_id=choice.offering.backend_id,
            vcpus=choice.vcpus if choice.offering.custom else None,
            memory_mib=choice.memory_mib if choice.offering.custom else None,
            clock_mhz=self._clock_mhz(choice),
            root_gib=root_disk_gib,
            root_offering_id=root_offering_id,
            any_network=basic,
            nics=tuple(nics),
            disks=await self._disks.plan(tenant, zone, spec),
        )

    def _clock_mhz(self, choice: Choice) -> int | None:
        if not choice.offering.custom or choice.offering.clock_mhz:
            return None
        return self._backend.settings.custom_cpu_mhz

    async def _nic(self, tenant: Tenant, zone: Zone, layout: Layout, wanted: InterfaceSpec, field: str) -> Nic:
        place = find_place(layout, zone, wanted, field)
        if place is None:
            if wanted.address:
                raise errors.Invalid(
                    "An address cannot be chosen in a network that is not made yet", field=f"{field}.address"
                )
            nic = Nic("", "", False, False, "", wanted.external_name, "", "")
            return await self._with_public(tenant, zone, nic, wanted, field)
        if wanted.address:
            check_address(wanted.address, place, f"{field}.address")
        nic = Nic(
            network_id=place.backend_id,
            vpc_id=place.vpc_id,
            shared=place.subnetwork.shared,
            mark=place.network == DEFAULT_NETWORK and not place.marked and place.own and not place.vpc_id,
            address=wanted.address,
            external=wanted.external_name,
            public_id="",
            public_address="",
        )
        return await self._with_public(tenant, zone, nic, wanted, field)

    async def _with_public(self, tenant: Tenant, zone: Zone, nic: Nic, wanted: InterfaceSpec, field: str) -> Nic:
        """The interface with the public address that the tenant holds and asks for, if any."""
        if wanted.external_name is None or not wanted.external_address:
            return nic
        if nic.shared:
            raise errors.Invalid(
                "A machine in a shared network is reached by its own address; none can be chosen for it",
                field=f"{field}.external_address",
            )
        reply = await self._backend.owned(
            tenant, "listPublicIpAddresses", ipaddress=wanted.external_address, zoneid=zone.backend_id
        )
        row = next((row for row in rows(reply, "publicipaddress")), None)
        if row is None:
            raise errors.NotFound(
                f"You hold no address {wanted.external_address!r} in zone {zone.name!r}",
                kind="address",
                name=wanted.external_address,
                field=f"{field}.external_address",
            )
        if flag(row, "isstaticnat") or flag(row, "issourcenat"):
            raise errors.InUse(
                f"Address {wanted.external_address!r} is in use",
                kind="address",
                name=wanted.external_address,
                field=f"{field}.external_address",
            )
        return Nic(**{**asdict(nic), "public_id": text(row, "id"), "public_address": text(row, "ipaddress")})


def find_place(layout: Layout, zone: Zone, wanted: InterfaceSpec, field: str) -> Place | None:
    """
    The CloudStack network for an interface, or None for a default network that is not made yet in the zone.

    :raises NotFound: no such network or subnetwork. :raises Invalid: it is not in the zone, or not unambiguous.
    """
    name = wanted.network
    network = layout.network(name) if name else None
    if name and network is None:
        raise no_network(name, f"{field}.network")
    if wanted.subnetwork:
        return _by_subnetwork(layout, zone, wanted, network.name if network else "", field)
    shown = network.name if network else DEFAULT_NETWORK
    places = layout.in_zone(shown, zone.backend_id)
    if places:
        if len(places) > 1:
            raise errors.Invalid(
                f"Network {shown!r} has several subnetworks in region {zone.region!r}; name one",
                field=f"{field}.subnetwork",
            )
        return places[0]
    if shown == DEFAULT_NETWORK and (network is None or not network.subnetworks or network.kind is NetworkKind.FLAT):
        return None
    raise errors.Invalid(f"Network {shown!r} has no subnetwork in zone {zone.name!r}", field=f"{field}.network")


def check_address(address: str, place: Place, field: str) -> None:
    """
    Whether an address may be asked for in a network.

    :raises Invalid: it is none, or not of the network's range.
    """
    try:
        wanted = ipaddress.ip_address(address)
        inside = not place.subnetwork.cidr or wanted in ipaddress.ip_network(place.subnetwork.cidr, strict=False)
    except ValueError as exc:
        raise errors.Invalid(f"{address!r} is no IP address", field=field) from exc
    if not inside:
        raise errors.Invalid(f"{address} is not in the range {place.subnetwork.cidr}", field=field)


def boot_disk(choice: DiskChoice | None, wanted_bytes: int | None, image_bytes: int | None) -> tuple[str, int | None]:
    """
    The disk offering for the root disk, or "", and its size in GiB, or None to leave it as it comes.

    :raises Invalid: smaller than the image, or a size that the offering does not allow.
    """
    gib = root_gib(wanted_bytes, image_bytes)
    if choice is None:
        return "", gib
    offering = choice.offering
    least = -(-(image_bytes or 0) // GIB)
    if offering.limits_gib[1] < least:
        raise errors.Invalid(
            f"Disks of type {choice.name!r} have {offering.limits_gib[1]} GB at most, the image has {least} GB",
            field="boot_disk_type",
        )
    if offering.gib is not None:
        choice.gib_for(wanted_bytes, "boot_disk_size_bytes")
        return offering.backend_id, None
    return offering.backend_id, choice.gib_for(wanted_bytes or image_bytes, "boot_disk_size_bytes")


def root_gib(wanted_bytes: int | None, image_bytes: int | None) -> int | None:
    """
    The root disk's size in GiB, rounded up; None to leave it as large as the image.

    :raises Invalid: smaller than the image.
    """
    if wanted_bytes is None:
        return None
    wanted = -(-wanted_bytes // GIB)
    if image_bytes is None:
        return wanted
    least = -(-image_bytes // GIB)
    if wanted < least:
        raise errors.Invalid(
            f"The boot disk is {wanted} GB, smaller than the image's {least} GB", field="boot_disk_size_bytes"
        )
    return wanted if wanted > least else None


def _by_subnetwork(layout: Layout, zone: Zone, wanted: InterfaceSpec, network: str, field: str) -> Place | None:
    region = wanted.region or zone.region
    if region != zone.region:
        raise errors.Invalid(
            f"Subnetwork {wanted.subnetwork!r} is in region {region!r}, zone {zone.name!r} is not",
            field=f"{field}.subnetwork",
        )
    found: Sequence[Place] = [
        place
        for place in layout.places.values()
        if place.subnetwork.region == region
        and wanted.subnetwork in (place.subnetwork.name, str(place.subnetwork.id))
        and (not network or place.network == network)
    ]
    if not found:
        alias = layout.aliases.get(slug(wanted.subnetwork), wanted.subnetwork)
        if alias == DEFAULT_NETWORK and network in ("", DEFAULT_NETWORK):
            places = layout.in_zone(DEFAULT_NETWORK, zone.backend_id)
            return places[0] if places else None
        raise no_subnetwork(wanted.subnetwork, region, f"{field}.subnetwork")
    here = [place for place in found if place.zone_id == zone.backend_id]
    if not here:
        raise errors.Invalid(
            f"Subnetwork {wanted.subnetwork!r} is not in zone {zone.name!r}", field=f"{field}.subnetwork"
        )
    return here[0]
