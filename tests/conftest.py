"""
Fixtures for all tests: `world`, `cloudstack`, `gce` and the settings they are made from (see gceshim.testing.plugin);
`mongodb_uri`, a server of MongoDB's protocol (see tests.mongodb).
"""

pytest_plugins = ["gceshim.testing.plugin", "tests.mongodb"]
