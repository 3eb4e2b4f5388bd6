"""The three vocabularies of errors, and the page that lists them."""

import re
from pathlib import Path

from gceshim.protocol import errors

from .harness import DOCUMENT

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_page_of_errors_lists_every_class_with_its_words():
    """Statuses, reasons and codes are closed lists that users rely on."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    listed = {name: (int(status), reason, code) for name, status, reason, code in rows}
    assert listed == {cls.__name__: (cls.status, cls.reason, cls.code) for cls in errors.ApiError.__subclasses__()}


def test_an_operation_error_fits_the_schema():
    """`error.errors[]` is typed in the document; a member it does not know would be lost on clients."""
    fields = errors.QuotaExceeded("Quota 'CPUS' exceeded.", location="cpus").operation_fields()
    properties = DOCUMENT.schema("Operation")["properties"]
    assert fields.keys() <= properties.keys()
    entry = properties["error"]["properties"]["errors"]["items"]["properties"]
    assert fields["error"]["errors"][0].keys() <= entry.keys()


def test_a_long_value_is_cut_in_the_text_of_an_error():
    """A megabyte sent must not come back twice."""
    assert len(errors.invalid_value("resource.name", "x" * 10_000, "Too long.")) < 700
