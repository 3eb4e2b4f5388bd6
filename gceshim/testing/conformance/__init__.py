"""
What every driver does alike, as tests that its author runs against it.

A test module of the driver has a fixture `subject` that gives a `subject.Subject`, and a class that derives from
`suite.DriverConformance`, or from the class of one capability:

    from gceshim.testing.conformance.subject import Ground, Subject
    from gceshim.testing.conformance.suite import DriverConformance

    @pytest.fixture
    def subject() -> Subject:
        return MySubject()

    class TestMyDriver(DriverConformance):
        pass

Needs pytest and nothing else: each test runs in an asyncio event loop of its own, in which the driver is built and
closed. The guide `docs/drivers.md` explains it. What is asserted is in the docstrings of `gceshim.drivers`.
"""

import pytest

# So that a failing assert of the suite shows its values; must come before the modules are imported.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "attachments",
            "bench",
            "catalogs",
            "creation",
            "disks",
            "firewalls",
            "identities",
            "instances",
            "outages",
            "places",
            "settings",
            "shapes",
            "subject",
            "suite",
            "verbs",
        )
    )
)
