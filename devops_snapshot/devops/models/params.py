"""Rows whose driver-specific fields live in one JSON column, ``params``.

A field of ``params`` is declared on the model with :class:`ParamField` or :class:`ParamMultiField`
and used like any other attribute. ``params._class`` says which class of fuel-devops wrote the row;
the class registered here for that name is the one that loading returns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, overload

from django.db import models

from devops_snapshot.errors import DevopsError

from .fields import JSONTextField

T = TypeVar("T")
ModelType = TypeVar("ModelType", bound="type[ParamedModel]")


class HasParams(Protocol):
    """What a :class:`ParamField` reads from and writes to."""

    @property
    def params(self) -> dict[str, Any]: ...


class ParamField(Generic[T]):
    """One value in ``params``, under the name of the attribute.

    Setting a value that is not among ``choices`` raises DevopsError.
    """

    name: str

    def __init__(self, default: T, *, choices: Collection[T] = ()) -> None:
        self.default = default
        self.choices = choices

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> ParamField[T]: ...

    @overload
    def __get__(self, instance: HasParams, owner: type) -> T: ...

    def __get__(self, instance: HasParams | None, owner: type) -> ParamField[T] | T:
        if instance is None:
            return self
        if self.name not in instance.params:
            return deepcopy(self.default)
        value: T = instance.params[self.name]
        return value

    def __set__(self, instance: HasParams, value: T) -> None:
        if self.choices and value not in self.choices:
            known = ", ".join(str(choice) for choice in self.choices)
            raise DevopsError(f"{value!r} is no value for {self.name}, which is one of: {known}")
        instance.params[self.name] = value

    def complete(self, params: dict[str, Any]) -> None:
        """Put the default into ``params`` if there is no value yet."""
        params.setdefault(self.name, deepcopy(self.default))


class ParamGroup:
    """The fields of one :class:`ParamMultiField` of one row, such as ``device.forward``."""

    __slots__ = ("_holder", "_key")

    def __init__(self, holder: HasParams, key: str) -> None:
        self._holder = holder
        self._key = key

    @property
    def params(self) -> dict[str, Any]:
        """The nested mapping itself."""
        nested: dict[str, Any] = self._holder.params.setdefault(self._key, {})
        return nested


class ParamMultiField:
    """A mapping in ``params`` with fields of its own: ``device.forward.mode``."""

    name: str

    def __init__(self, **fields: ParamField[Any]) -> None:
        self.fields = fields
        self._group_type = type("ParamGroup", (ParamGroup,), {"__slots__": (), **fields})

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: HasParams | None, owner: type) -> Any:
        return self if instance is None else self._group_type(instance, self.name)

    def __set__(self, instance: HasParams, values: Mapping[str, Any]) -> None:
        if not isinstance(values, Mapping):
            raise DevopsError(
                f"{self.name} is a mapping of {', '.join(self.fields)}, not {values!r}"
            )
        unknown = [key for key in values if key not in self.fields]
        if unknown:
            raise DevopsError(
                f"{self.name} has no field {unknown[0]!r}, only: {', '.join(self.fields)}"
            )
        group = self._group_type(instance, self.name)
        for key, value in values.items():
            setattr(group, key, value)

    def complete(self, params: dict[str, Any]) -> None:
        """Put the defaults into ``params`` where there are no values yet."""
        nested = params.setdefault(self.name, {})
        for field in self.fields.values():
            field.complete(nested)


class ParamedModel(models.Model):
    """A row with ``params``; its subclasses for one driver are proxy models.

    Parameters may be given to the constructor and to ``objects.create`` by name. A new row gets the
    values given, then ``_class``, then the defaults of all others in the order of declaration: so
    does fuel-devops. A row that was loaded keeps ``_class`` and parameters that nobody here knows.
    """

    class_path: ClassVar[str]
    """What stands in ``params._class`` of a new row."""

    params = JSONTextField(default=dict)
    _class: ParamField[str | None] = ParamField(None)

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = [name for name in self.get_defined_params() if name in kwargs]
        given = {name: kwargs.pop(name) for name in names}
        super().__init__(*args, **kwargs)
        for name, value in given.items():
            setattr(self, name, value)
        if not args:  # positional values are those of a row that exists
            self.set_default_params()

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any
    ) -> Any:
        """The row, of the class registered for its ``_class``, else of the plain model."""
        row = dict(zip(field_names, values, strict=True))
        model = cls._model_of(row["params"]) if "params" in row else cls
        return super(ParamedModel, model).from_db(db, field_names, values, **kwargs)

    @classmethod
    def _model_of(cls, params: dict[str, Any]) -> type[ParamedModel]:
        plain: type[ParamedModel] = cast(Any, cls._meta.concrete_model)
        model = _MODELS.get(params["_class"], plain) if "_class" in params else plain
        return model if issubclass(model, plain) else plain

    @classmethod
    def get_defined_params(cls) -> list[str]:
        """Names of all parameters, those of the driver's class first."""
        return list(_fields_of(cls))

    def set_default_params(self) -> None:
        """Fill in what ``params`` lacks."""
        self.params.setdefault("_class", self.class_path)
        for field in _fields_of(type(self)).values():
            field.complete(self.params)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.set_default_params()
        super().save(*args, **kwargs)


@cache
def _fields_of(model: type[ParamedModel]) -> Mapping[str, ParamField[Any] | ParamMultiField]:
    """Asked for with every row, and the same as long as the process lives."""
    fields: dict[str, ParamField[Any] | ParamMultiField] = {}
    for base in model.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, (ParamField, ParamMultiField)):
                fields.setdefault(name, value)
    return fields


_MODELS: dict[str, type[ParamedModel]] = {}


def registered(class_path: str) -> Callable[[ModelType], ModelType]:
    """Class decorator: rows whose ``params._class`` is ``class_path`` are of this class.

    ``class_path`` is the class's place in fuel-devops, ``module:Class``.
    """

    def register(model: ModelType) -> ModelType:
        model.class_path = class_path
        _MODELS[class_path] = model
        return model

    return register


def registered_models() -> Iterable[tuple[str, type[ParamedModel]]]:
    """All registered classes with their names in fuel-devops."""
    return _MODELS.items()
