"""Resource tags.

Source: TaggedResourceManagerImpl, ResourceTag.ResourceObjectType.
"""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call
from gceshim.simulator.commands.tag_rows import tag_row
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, command

#: Types that take tags, with the kind of record; None: a type that the simulated cloud has no objects of.
TAGGABLE: dict[str, type[model.Record] | None] = {
    "UserVm": model.Vm,
    "VMInstance": model.Vm,
    "Template": model.Template,
    "ISO": model.Template,
    "Volume": model.Volume,
    "Snapshot": None,
    "Backup": None,
    "Network": model.Network,
    "LoadBalancer": None,
    "PortForwardingRule": model.PortForwardingRule,
    "FirewallRule": model.FirewallRule,
    "SecurityGroup": model.SecurityGroup,
    "SecurityGroupRule": model.SecurityGroupRule,
    "PublicIpAddress": model.PublicIp,
    "Project": model.Project,
    "Account": model.Account,
    "Vpc": model.Vpc,
    "NetworkACL": model.AclItem,
    "StaticRoute": None,
    "VMSnapshot": None,
    "RemoteAccessVpn": None,
    "User": model.User,
    "SnapshotPolicy": None,
}
DETAILS_ONLY = frozenset(
    {
        "nic",
        "zone",
        "networkacllist",
        "serviceoffering",
        "diskoffering",
        "networkoffering",
        "autoscalevmprofile",
        "autoscalevmgroup",
        "domain",
        "storage",
        "cluster",
        "host",
    }
)
MAX_LENGTH = 255


def _type(text: str) -> tuple[str, type[model.Record] | None]:
    for name, kind in TAGGABLE.items():
        if name.casefold() == text.casefold():
            return name, kind
    if text.casefold() in DETAILS_ONLY:
        raise errors.invalid(f"The resource type {text} doesn't support resource tags")
    raise errors.invalid(f"Invalid resource type {text}")


def _resources(call: Call) -> tuple[str, list[tuple[model.Record, model.Account]]]:
    name, kind = _type(call.args.need_text("resourcetype"))
    found = []
    for uuid in call.args.texts("resourceids"):
        record = call.state.find(kind, uuid.lower()) if kind is not None else None
        if record is None or record.removed:
            raise errors.invalid(f"Unable to find resource by id {uuid} and type {name}")
        owner = _owner(record)
        if not scopes.can_access(call.caller, owner):
            raise scopes.permission_error(call.caller, record)
        found.append((record, owner))
    if not found:
        raise errors.invalid("At least one resource ID is needed")
    return name, found


def _owner(record: model.Record) -> model.Account:
    if isinstance(record, model.Account):
        return record
    if isinstance(record, model.User):
        return record.account
    owner = scopes.owner_of(record)
    if owner is None:
        raise errors.invalid(f"Unable to find the owner of resource {record.uuid}")
    return owner


@command("createTags", Provenance.DOCUMENTED, java="tag.CreateTagsCmd", event="CREATE_TAGS")
async def create_tags(call: Call) -> None:
    name, resources = _resources(call)
    pairs: dict[str, str] = {}
    for item in call.args.maps("tags"):
        key, value = item.get("key"), item.get("value")
        if key is None:
            # The short form: tags[0].colour=blue
            pairs.update(item)
            continue
        pairs[key] = value or ""
    for key, value in pairs.items():
        if not value:
            raise errors.invalid(f"Value for the key {key} is either null or empty")
    await call.work()
    _resources(call)  # what was removed meanwhile gets none
    for record, _owner_account in resources:
        present = {key.casefold() for key in call.state.tags.get(record.uuid, {})}
        for key, value in pairs.items():
            if key.casefold() in present:
                raise errors.failed(f"tag {key} already on {name} with id {record.uuid}")
            if len(key) > MAX_LENGTH or len(value) > MAX_LENGTH:
                raise errors.failed("DB Exception: Data truncation: Data too long for column")
    for record, owner in resources:
        table = call.state.tags.setdefault(record.uuid, {})
        for key, value in pairs.items():
            table[key] = call.state.new(
                model.Tag,
                key=key,
                value=value,
                resource_type=name,
                resource=record,
                account=owner,
                customer=call.args.text("customer"),
            )


@command("deleteTags", Provenance.DOCUMENTED, java="tag.DeleteTagsCmd", event="DELETE_TAGS")
async def delete_tags(call: Call) -> None:
    name, resources = _resources(call)
    wanted = [(item.get("key"), item.get("value")) for item in call.args.maps("tags")]
    await call.work()
    doomed = [
        tag
        for record, _ in resources
        for tag in list(call.state.tags_of(record.uuid))
        if not wanted or any(_matches(tag, key, value) for key, value in wanted)
    ]
    if not doomed:
        raise errors.failed(f"Unable to find any tags which matches the criteria for {name}")
    for tag in doomed:
        del call.state.tags[tag.resource.uuid][tag.key]
        call.state.remove(tag)


def _matches(tag: model.Tag, key: str | None, value: str | None) -> bool:
    if key is None or tag.key.casefold() != key.casefold():
        return False
    return not value or tag.value.casefold() == value.casefold()


@command("listTags", Provenance.RECORDED)
def list_tags(call: Call) -> Listing:
    text = call.args.text("resourcetype")
    rows = Rows(call, call.state.rows(model.Tag)).same("resourceid", lambda tag: tag.resource.uuid)
    if text is not None:
        name, _ = _type(text)
        rows.where(lambda tag: tag.resource_type == name)
    rows.same("key", lambda tag: tag.key).same("value", lambda tag: tag.value)
    rows.same("customer", lambda tag: tag.customer)
    rows.like("keyword", lambda tag: tag.key, lambda tag: tag.value, lambda tag: tag.customer).owned()
    return Listing(rows.found, tag_row)
