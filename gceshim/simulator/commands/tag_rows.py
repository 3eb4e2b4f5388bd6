"""The ``tags`` array that most resources carry in replies."""

from gceshim.simulator import scopes
from gceshim.simulator.call import Call, prune
from gceshim.simulator.entities import Record, Tag
from gceshim.simulator.registry import Row


def tag_row(tag: Tag) -> Row:
    """One tag, as in ``listTags`` and in the resources' arrays."""
    return prune(
        {
            "key": tag.key,
            "value": tag.value,
            "resourcetype": tag.resource_type,
            "resourceid": tag.resource.uuid,
            "customer": tag.customer,
            **scopes.owner_fields(tag.account),
        }
    )


def tag_rows(call: Call, record: Record) -> list[Row]:
    """All tags of a record."""
    return [tag_row(tag) for tag in call.state.tags_of(record.uuid)]
