"""The driver interface is read by strangers: its docstrings are its manual, and the guide has all of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from gceshim.drivers import base, errors
from tests.drivers.worlds import cloud, on_loop

CAPABILITIES = [
    item
    for item in vars(base).values()
    if inspect.isclass(item) and issubclass(item, base.abc.ABC) and item not in (base.Steps, base.Driver, base.abc.ABC)
]
METHODS = [
    pytest.param(capability, name, id=f"{capability.__name__}.{name}")
    for capability in CAPABILITIES
    for name in sorted(capability.__abstractmethods__)
]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "drivers.md"


@pytest.mark.parametrize(("capability", "name"), METHODS)
def test_each_method_says_what_it_promises(capability, name):
    """A sentence, errors that exist and are spelt so, and parameters that it has."""
    method = getattr(capability, name)
    text = inspect.getdoc(method)
    assert text
    assert re.match(r"[A-Z].*?[.:]", text, re.S)
    for raised in re.findall(r":raises ([^:]+):", text):
        for error in raised.split(","):
            assert issubclass(getattr(errors, error.strip()), errors.DriverError)
    parameters = set(inspect.signature(method).parameters)
    assert set(re.findall(r":param (\w+):", text)) <= parameters


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda item: item.__name__)
def test_each_capability_names_its_source(capability):
    """GCE's method or CloudStack's command, for who has to look a rule up."""
    texts = [inspect.getdoc(getattr(capability, name)) or "" for name in capability.__abstractmethods__]
    assert any("Source:" in text for text in texts)


@pytest.mark.parametrize(("capability", "name"), METHODS)
def test_the_guide_has_each_method(capability, name):
    """Whoever writes a driver finds all that there is to write."""
    word = f"{re.sub('(?<=[a-z])(?=[A-Z])', '_', capability.__name__).lower()}.{name}"
    assert f"`{word}`" in GUIDE.read_text(), word


def test_the_guide_has_each_error():
    """And no other may be raised."""
    for name in errors.BY_NAME:
        assert f"`{name}`" in GUIDE.read_text(), name


@on_loop
async def test_the_guides_example_of_a_plugin_works():
    """A part of the default driver is replaced without a change to it."""
    program = next(
        code for code in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.M | re.S) if "MyDriver(" in code
    )
    names = {}
    exec(program, names)
    async with cloud() as world:
        driver = names["MyDriver"].create({"url": world.url})
        zones = await driver.locations.zones(world.tenant)
        assert len(zones) == 2
        assert names["CountingTransport"].calls == 1
        assert driver.images.is_public_project("house-images")
        await driver.close()
