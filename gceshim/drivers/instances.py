"""What can be changed about a machine that is there."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from gceshim.drivers.steps import Steps
from gceshim.model import InstanceRef


class InstanceSettings(abc.ABC):
    """
    Changes of one machine. Each replaces the whole of what it is about, and may be repeated.

    All raise NotFound when the machine is gone, Changed when `seen` is not what is there (any more), and Unavailable
    when the backend gives no sensible answer.
    """

    @abc.abstractmethod
    async def set_labels(self, steps: Steps, instance: InstanceRef, labels: Mapping[str, str]) -> None:
        """
        Replace the labels; reserved tags of the driver's own stay.

        Source: GCE `compute.instances.setLabels`; CloudStack `deleteTags`, `createTags`.
        """

    @abc.abstractmethod
    async def set_network_tags(self, steps: Steps, instance: InstanceRef, network_tags: tuple[str, ...]) -> None:
        """
        Replace the network tags, and with them what firewall rules apply to the machine.

        :raises NotReady: the backend can change that on a stopped machine only; the message says so.

        Source: GCE `compute.instances.setTags`; CloudStack tags and, in zones with security groups,
        `updateVirtualMachine` `securitygroupids`.
        """

    @abc.abstractmethod
    async def set_metadata(
        self,
        steps: Steps,
        instance: InstanceRef,
        metadata: Mapping[str, str],
        project_metadata: Mapping[str, str],
    ) -> None:
        """
        Replace the metadata, and the user data made from it, which the machine reads when it next starts.

        :raises Invalid: longer than the backend takes.

        Source: GCE `compute.instances.setMetadata`; CloudStack `updateVirtualMachine` `userdata`.
        """

    @abc.abstractmethod
    async def set_machine_type(self, steps: Steps, instance: InstanceRef, machine_type: str) -> None:
        """
        Change its size.

        :raises NotReady: it is running. :raises NotFound: no such machine type (`field` "machine_type").
        :raises QuotaExceeded, CapacityExhausted: as for a new machine.

        Source: GCE `compute.instances.setMachineType`; CloudStack `scaleVirtualMachine` on a stopped machine.
        """

    @abc.abstractmethod
    async def set_deletion_protection(self, steps: Steps, instance: InstanceRef, protected: bool) -> None:
        """Switch it on or off. Source: GCE `setDeletionProtection`; `updateVirtualMachine` `deleteprotection`."""

    @abc.abstractmethod
    async def set_kept(self, steps: Steps, instance: InstanceRef, kept: Mapping[str, Any]) -> None:
        """Replace what the API above keeps with the machine. Source: GCE `setScheduling`, `setServiceAccount`; tags."""

    @abc.abstractmethod
    async def set_description(self, steps: Steps, instance: InstanceRef, description: str) -> None:
        """Replace the description. Source: GCE `compute.instances.update`; CloudStack tags."""

    @abc.abstractmethod
    async def rename(self, steps: Steps, instance: InstanceRef, name: str) -> None:
        """
        Give it another name, the boot disk along with it.

        :raises AlreadyExists: the tenant has an instance of that name in the zone. :raises NotReady: it is running.

        Source: GCE `compute.instances.setName`, for stopped instances; CloudStack `updateVirtualMachine` `name`.
        """
