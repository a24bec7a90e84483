"""The one column type that Django does not bring along."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Expression

from devops_snapshot.errors import DevopsError

if TYPE_CHECKING:
    TextField = models.Field[Any, Any]  # any document goes in and comes out
else:
    TextField = models.TextField


class JSONTextField(TextField):
    """A JSON document in a TEXT column, byte for byte as fuel-devops (jsonfield 1.0.3) writes it.

    Compact separators, non-ASCII characters escaped, keys in the order they came in: what is loaded
    and saved again leaves the bytes as they were.
    """

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> Any:
        """The document; raises DevopsError where the text is no JSON."""
        if value is None:
            return None
        try:
            return json.loads(value)
        except ValueError as error:
            raise DevopsError(
                f"A row of {self.model._meta.db_table} has no JSON in {self.column}: {value[:80]!r}"
            ) from error

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj), separators=(",", ":"))
