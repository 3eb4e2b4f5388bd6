"""What a simulated cloud holds, for tests: past the API, its permissions and its paging."""

from typing import TypeVar

from gceshim.simulator import entities as model
from gceshim.simulator.state import State

R = TypeVar("R", bound=model.Record)


class Inspection:
    """Lookups by name; names are of the CloudStack objects. Each method of a single object raises KeyError."""

    def __init__(self, state: State) -> None:
        self._state = state

    def rows(self, kind: type[R]) -> list[R]:
        """All live records of a kind, oldest first."""
        return self._state.snapshot(kind)

    def named(self, kind: type[R], name: str) -> R:
        """The oldest live record of a kind with exactly that name."""
        for row in self._state.rows(kind):
            if getattr(row, "name", None) == name:
                return row
        raise KeyError(name)

    def vms(self, account: str | None = None) -> list[model.Vm]:
        return [vm for vm in self.rows(model.Vm) if account is None or vm.account.name == account]

    def vm(self, name: str) -> model.Vm:
        return self.named(model.Vm, name)

    def volumes(self) -> list[model.Volume]:
        return self.rows(model.Volume)

    def volume(self, name: str) -> model.Volume:
        return self.named(model.Volume, name)

    def networks(self) -> list[model.Network]:
        return self.rows(model.Network)

    def tags(self, uuid: str) -> dict[str, str]:
        """The tags of the resource with that uuid, by key."""
        return {tag.key: tag.value for tag in self._state.tags_of(uuid)}

    def jobs(self) -> list[model.Job]:
        return self.rows(model.Job)
