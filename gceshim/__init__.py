"""gceshim: a Google Compute Engine v1 API in front of Apache CloudStack."""

__version__ = "0.1.0"
