"""Rows in a database of their own, and environments of them on a host of the bed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import django
import pytest
from django.db import DEFAULT_DB_ALIAS, connections, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devops_snapshot.settings")
django.setup()


@pytest.fixture(scope="package")
def _test_database() -> Iterator[None]:
    connection = connections[DEFAULT_DB_ALIAS]
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    yield
    connection.creation.destroy_test_db(name, verbosity=0)


@pytest.fixture
def rows(_test_database: None) -> Iterator[None]:
    """An empty database; what the test writes is rolled back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
