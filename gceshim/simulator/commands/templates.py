"""Templates and ISOs: one row for each zone that has it."""

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call, prune, wire_date
from gceshim.simulator.commands.infrastructure import check_hypervisor
from gceshim.simulator.commands.tag_rows import tag_rows
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command

FILTERS = frozenset(
    {"featured", "self", "selfexecutable", "sharedexecutable", "executable", "community", "shared", "all"}
)
GIB = 1024**3


@command("listTemplates", Provenance.DOCUMENTED, subject=model.Template)
def list_templates(call: Call) -> Listing:
    wanted = call.args.need_text("templatefilter").lower()
    named = [row for row in (call.args.one("id", model.Template),) if row is not None]
    for template in named:
        if template.iso:
            raise errors.invalid("Incorrect format ISO of the specified template id")
        if template.removed:
            raise errors.invalid("Please specify a valid template ID.")
    return _listing(call, wanted, iso=False)


@command("listIsos", Provenance.DOCUMENTED, subject=model.Template)
def list_isos(call: Call) -> Listing:
    chosen = call.args.one("id", model.Template)
    if chosen is not None and not chosen.iso:
        raise errors.invalid("Specified Template Id is not an ISO")
    rows_filter = (call.args.text("isofilter") or "selfexecutable").lower()
    return _listing(call, rows_filter, iso=True)


def _listing(call: Call, wanted: str, *, iso: bool) -> Listing:
    args = call.args
    if wanted not in FILTERS:
        raise errors.invalid(f"Please specify a valid {'iso' if iso else 'template'}filter")
    if wanted == "all" and not call.caller.is_admin:
        raise errors.invalid("Filter all can be specified by admin only")
    check_hypervisor(args.text("hypervisor"))
    zone = args.one("zoneid", model.Zone)
    rows = Rows(call, call.state.rows(model.Template)).where(lambda row: row.iso is iso).ids(model.Template)
    rows.same("name", lambda row: row.name).like("keyword", lambda row: row.name, lambda row: row.display_text)
    rows.same("hypervisor", lambda row: row.hypervisor).same("arch", lambda row: "x86_64")
    rows.same("oscategoryid", lambda row: row.os_type.category).same("templatetype", template_type)
    rows.flag("isready", lambda row: row.ready).flag("ispublic", lambda row: row.public).tags()
    rows.flag("bootable", lambda row: True).flag("isvnf", lambda row: False).flag("forcks", lambda row: False)
    scope = scopes.list_scope(call, by_id=False)
    has_id = args.has("id") or args.has("ids")
    rows.where(lambda row: _passes(call, row, wanted, scope, by_id=has_id))
    rows.found.sort(key=lambda row: row.sort_key)
    pairs: list[tuple[model.Template, model.Zone]] = []
    for template in rows.found:
        zones = [at for at in template.zones if zone in (None, at)]
        pairs.extend((template, at) for at in (zones[:1] if args.flag("showunique") else zones))
    return Listing(pairs, lambda pair: template_row(call, pair[0], pair[1]))


def _passes(call: Call, template: model.Template, wanted: str, scope: scopes.Owns, *, by_id: bool) -> bool:
    own = scope(template.account) or (by_id and scopes.can_access(call.caller, template.account))
    if wanted.endswith("executable") and not template.ready:
        return False
    if wanted == "featured":
        return template.public and template.featured
    if wanted == "community":
        return template.public and not template.featured
    if wanted in ("self", "selfexecutable"):
        return own
    if wanted in ("shared", "sharedexecutable"):
        return False
    if wanted == "executable":
        return own or template.public
    return scopes.can_access(call.caller, template.account)


def template_type(template: model.Template) -> str:
    return "BUILTIN" if template.featured and not template.iso else "USER"


def template_row(call: Call, template: model.Template, zone: model.Zone) -> Row:
    """A template in one zone."""
    mine = scopes.can_access(call.caller, template.account)
    size_bytes = template.size_gib * GIB
    done = "Successfully Installed" if template.iso else "Download Complete"
    return prune(
        {
            "id": template.uuid,
            "name": template.name,
            "displaytext": template.display_text,
            "ispublic": template.public,
            "isfeatured": template.featured,
            "isready": template.ready,
            "isextractable": template.extractable,
            "isdynamicallyscalable": False,
            "passwordenabled": template.password_enabled,
            "sshkeyenabled": False,
            "bootable": True,
            "crossZones": len(template.zones) > 1,
            "created": wire_date(template.created),
            "format": None if template.iso else template.image_format,
            "hypervisor": None if template.iso else template.hypervisor,
            "ostypeid": template.os_type.uuid,
            "ostypename": template.os_type.description,
            "size": size_bytes,
            "physicalsize": size_bytes,
            "templatetype": template_type(template),
            "status": (done if template.ready else "Processing") if mine else None,
            "zoneid": zone.uuid,
            "zonename": zone.name,
            "directdownload": False,
            "deployasis": False,
            "requireshvm": True,
            "arch": "x86_64",
            "hasannotations": False,
            "forcks": False,
            "details": {},
            "downloaddetails": [],
            "childtemplates": [],
            "tags": tag_rows(call, template),
            **scopes.owner_fields(template.account),
        }
    )
