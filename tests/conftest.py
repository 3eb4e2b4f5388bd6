"""
Fixtures for all tests: `world`, `cloudstack`, `gce` and the settings they are made from (see gceshim.testing.plugin).
"""

pytest_plugins = ["gceshim.testing.plugin"]
