"""Measurements against what a user would type into virsh; see README.rst."""

# Sets Django up, without which the modules here cannot import its models.
from tests.devops import databases as databases
