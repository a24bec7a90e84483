"""Tests of the fuel-devops ORM, its driver and its commands."""
