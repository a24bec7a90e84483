"""Snapshot, export and import of whole fuel-devops environments."""

__version__ = "0.1.0"
