"""Firewall rules of a network, whatever the backend carries them out with."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from gceshim.drivers.steps import Steps
from gceshim.model import Firewall, Tenant


class Firewalls(abc.ABC):
    """
    Rules as they were authored, and in force wherever their network is.

    A rule that some zone of the network cannot express is refused whole, before anything is changed, with the reason.
    """

    @abc.abstractmethod
    async def get(self, tenant: Tenant, name: str) -> Firewall:
        """
        One rule by name or numeric id. :raises NotFound: `kind` "firewall".

        Source: GCE `compute.firewalls.get`.
        """

    @abc.abstractmethod
    async def list(self, tenant: Tenant) -> Sequence[Firewall]:
        """All rules of the tenant, by name; at most 5,000. Source: GCE `compute.firewalls.list`."""

    @abc.abstractmethod
    async def check(self, tenant: Tenant, rule: Firewall, replaced: Firewall | None = None) -> None:
        """
        Tell whether the rule can be carried out, together with those that are there. Reads only.

        :param replaced: the rule that it takes the place of.
        :raises AlreadyExists: there is a rule of this name. :raises NotFound: no such network (`field` "network").
        :raises Invalid: it cannot be expressed; `field` and message say what and in which zone.
        """

    @abc.abstractmethod
    async def create(self, steps: Steps, rule: Firewall) -> Firewall:
        """
        Put a rule in force; all of it, or (when it fails) nothing of it.

        :raises AlreadyExists, NotFound, Invalid: as `check`. :raises QuotaExceeded: the tenant's limits.

        Source: GCE `compute.firewalls.insert`; CloudStack `createNetworkACL`, `authorizeSecurityGroupIngress` and
        `Egress`, `createFirewallRule`, `createEgressFirewallRule`.
        """

    @abc.abstractmethod
    async def replace(self, steps: Steps, rule: Firewall, replaced: Firewall) -> None:
        """
        Put a rule in the place of one of the same name; when that fails, the old one is in force.

        :raises Changed: `replaced` is not what is there. Source: GCE `compute.firewalls.update`, `patch`.
        """

    @abc.abstractmethod
    async def delete(self, steps: Steps, name: str) -> None:
        """Take a rule out of force; an absent one is a success. Source: GCE `compute.firewalls.delete`."""
