"""What all models share: the time of creation, look-ups that say what is missing and where."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, TypeVar

from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import models
from django.db.models import QuerySet

from devops_snapshot.errors import DevopsError, NotFoundError

from ..database import describe_database

M = TypeVar("M", bound=models.Model)


def utcnow() -> datetime:
    """Now in UTC, without a zone: what fuel-devops writes into ``created``."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


class BaseModel(models.Model):
    """A row that knows when it was made (naive UTC)."""

    created = models.DateTimeField(default=utcnow)

    class Meta:
        abstract = True


def get_one(queryset: QuerySet[M], *, within: str = "", **filters: Any) -> M:
    """The one row of ``queryset`` that the filters select.

    ``within`` names where it was looked for, such as ``environment 'a'``. Raises NotFoundError if
    there is none, and DevopsError if there are several; both name the database.
    """
    try:
        return queryset.get(**filters)
    except ObjectDoesNotExist:
        raise NotFoundError(f"Unknown {_spell(queryset, within, filters)}") from None
    except MultipleObjectsReturned:
        raise DevopsError(f"More than one {_spell(queryset, within, filters)}") from None


def _spell(queryset: QuerySet[Any], within: str, filters: dict[str, Any]) -> str:
    """``node 'a' in environment 'b' of the SQLite database x``; not by name: ``with role='a'``."""
    kind = queryset.model._meta.verbose_name
    if filters.keys() == {"name"}:
        what = repr(filters["name"])
    else:
        what = "with " + ", ".join(f"{key}={value!r}" for key, value in filters.items())
    place = f"{within} of " if within else ""
    return f"{kind} {what} in {place}{describe_database(queryset.db)}"
