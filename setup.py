"""Packaging: metadata, dependencies (each with its reason) and every entry point. Tool settings: pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "gceshim" / "__init__.py").read_text())[1]

INSTALL = [
    "tornado>=6.4",  # the HTTP server, and what embedders mount our handlers in
    "apache-libcloud>=3.8",  # reaches CloudStack: signing, connections, its error forms
    "stevedore>=5.1",  # finds drivers, ours and third parties', by entry point
    "python-jose[cryptography]>=3.3",  # makes and checks the JWTs that are our bearer tokens
    "cryptography>=42",  # encrypts CloudStack secrets at rest
    "orjson>=3.10",  # JSON several times faster than the standard library's, which long lists feel
    "oauthlib>=3.2",  # the rules of OAuth 2.0: grants, PKCE, the forms of its errors
    "prometheus-client>=0.20",  # counters and histograms in the form that Prometheus reads
    "lark>=1.2",  # parses filters: one grammar a dialect, and the position of what is wrong
    "motor>=3.7",  # the MongoDB store, for several servers
    "cattrs>=23.2",  # model objects to JSON and back, for the journal of operations
    "google-re2>=1.1",  # GCE filters are RE2 expressions; linear time, so none can hang the server
]

TEST = [
    "setuptools<81",  # pytest-tornado imports pkg_resources
    "pytest>=8,<10",
    "pytest-tornado>=0.8.1",  # runs coroutine tests on Tornado's loop
    "pytest-xdist>=3.5",  # the suite in parallel
    "pytest-randomly>=3.15",  # random order, so that no test leans on another
    "hypothesis>=6.100",  # property-based tests of everything that takes input
    "google-api-python-client>=2.150",  # a real client; also the source of the discovery document
    "google-cloud-compute>=1.20",  # a real client
    "nx-27017>=0.8",  # a server of MongoDB's protocol, for the tests of that store
    "oauth2client>=4.1",  # what gcutil logs in with
    "selenium>=4.20",  # drives a real Chromium through the consent page
    "cs>=3.2",  # a real CloudStack client, the simulator's opponent
    "ruff>=0.6",  # lint and format
    "mypy>=1.11",  # strict typing
    "import-linter>=2.0",  # the one-way imports
]

setup(
    name="gceshim",
    version=VERSION,
    description="A Google Compute Engine v1 API in front of Apache CloudStack",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["gceshim", "gceshim.*"]),
    package_data={"gceshim": ["py.typed", "protocol/*.json", "simulator/*.json", "auth/consent/pages/*"]},
    install_requires=INSTALL,
    extras_require={"test": TEST},
    entry_points={
        "console_scripts": ["gceshim = gceshim.cli:main"],
        "gceshim.drivers": ["cloudstack = gceshim.drivers.cloudstack.driver:CloudStackDriver"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
