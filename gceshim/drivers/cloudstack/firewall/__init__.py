"""Firewall rules: kept as authored, and carried out by access lists, address rules and security groups."""
