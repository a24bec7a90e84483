"""YAML of templates: ``!os_env``, ``!include``, anchors, and the line that everything stands on."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from devops_snapshot.errors import TemplateError

INTEGER = "tag:yaml.org,2002:int"
LARGEST = 1 << 20
"""Characters of a template."""

_LONGEST_SHOWN = 40  # characters
_MOST_NODES = 1 << 18  # values, with aliases as often as they are named


class Section(dict[Any, Any]):
    """A mapping that knows on which line it, and each of its keys, stands (``file:line``)."""

    def __init__(self, line: str = "") -> None:
        super().__init__()
        self.line = line
        self.lines: dict[Any, str] = {}


def load_yaml(path: Path, environ: Mapping[str, str]) -> Any:
    """The document; raises TemplateError with the file and line of what is wrong."""
    return _load(path, environ, including=(), asked_by="")


def _load(
    path: Path, environ: Mapping[str, str], *, including: tuple[Path, ...], asked_by: str
) -> Any:
    prefix = f"{asked_by}: " if asked_by else ""
    if path.resolve() in including:
        raise TemplateError(f"{prefix}{path} includes itself")
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise TemplateError(f"{prefix}{path} has more than {LARGEST} characters")
        loader = _Loader(text, path, environ, including)
        return loader.get_single_data()
    except OSError as error:
        raise TemplateError(f"{prefix}Cannot read {path}: {error.strerror}") from error
    except RecursionError as error:
        raise TemplateError(f"{prefix}{path} is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # the latter: 2026-13-32, or too many digits
        raise TemplateError(f"{_place(error) or path}: {_reason(error)}") from error


def _expanded(root: yaml.Node) -> int:
    """How many nodes there are if each alias is what it stands for.

    :raises RecursionError: one stands for itself
    """
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 0  # until it is known
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            children = [child for part in parts for child in _nodes(part)]
            sizes[id(node)] = 1 + sum(map(size, children))
        elif not sizes[id(node)]:
            raise RecursionError
        return sizes[id(node)]

    return size(root)


def _nodes(part: Any) -> tuple[yaml.Node, ...]:
    """An item of a sequence, or a key with its value."""
    return part if isinstance(part, tuple) else (part,)


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return _line(mark) if mark else ""


def _reason(error: Exception) -> str:
    return getattr(error, "problem", None) or " ".join(str(error).split())


def _line(mark: yaml.Mark) -> str:
    return f"{mark.name}:{mark.line + 1}"


class _Scalars(yaml.SafeLoader):
    """Safe: what it makes is text, numbers, lists and mappings.

    Without YAML 1.1's numbers to the base of 60, to which 52:54:00:12:34:56 belongs.
    """

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != INTEGER]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Refuses what is not what it is said to be, such as ``!!int x``, with its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:  # whatever PyYAML stumbles over
            kind = node.tag.rpartition(":")[2]
            problem = f"{str(node.value)[:_LONGEST_SHOWN]!r} is no {kind}"
            raise yaml.constructor.ConstructorError(
                problem=problem, problem_mark=node.start_mark
            ) from error


_Scalars.add_implicit_resolver(
    INTEGER, re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"), "-+0123456789"
)


class _Loader(_Scalars):
    """A template's YAML."""

    def __init__(
        self,
        text: str,
        path: Path,
        environ: Mapping[str, str],
        including: tuple[Path, ...],
    ) -> None:
        super().__init__(text)
        self.name = str(path)  # for messages
        self.path = path
        self.environ = environ
        self.including = (*including, path.resolve())

    def get_single_node(self) -> yaml.Node | None:
        """Refuses a billion laughs: values that are many times as large as their text."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _expanded(node) > _MOST_NODES:
            raise TemplateError(f"{self.path}: its aliases make more than {_MOST_NODES} values")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuses a key that stands there twice: YAML would silently forget the first."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                first = _line(seen[key.value].start_mark)
                raise TemplateError(
                    f"{_line(key.start_mark)}: {key.value!r} is there already ({first})"
                )
            seen[key.value] = key
        return node

    def section(self, node: yaml.MappingNode) -> Iterator[Section]:
        """A mapping, with those merged in by ``<<``."""
        section = Section(_line(node.start_mark))
        yield section  # first, since an alias inside may refer to it
        self.flatten_mapping(node)
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise TemplateError(f"{_line(key_node.start_mark)}: A key must be plain text")
            section[key] = self.construct_object(value_node, deep=True)
            section.lines[key] = _line(key_node.start_mark)

    def os_env(self, node: yaml.ScalarNode) -> Any:
        """``!os_env NAME[, default]``: the variable's value, or the default, read as YAML."""
        place = _line(node.start_mark)
        name, comma, default = (part.strip() for part in str(node.value).partition(","))
        if not name:
            raise TemplateError(f"{place}: !os_env lacks the name of a variable")
        if name not in self.environ and not comma:
            raise TemplateError(
                f"{place}: Environment variable {name} is not set",
                hint=f"Set it, or give a default: !os_env {name}, VALUE",
            )
        value = self.environ.get(name, default)
        try:
            return yaml.load(value, _Scalars)  # a safe one
        except yaml.YAMLError as error:
            raise TemplateError(
                f"{place}: The value of {name} is no YAML: {value[:_LONGEST_SHOWN]!r}",
                hint="Quote it if it is plain text",
            ) from error

    def include(self, node: yaml.ScalarNode) -> Any:
        """``!include FILE``, relative to the file in which it stands."""
        return _load(
            self.path.parent / str(node.value),
            self.environ,
            including=self.including,
            asked_by=_line(node.start_mark),
        )


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.section)
_Loader.add_constructor("!os_env", _Loader.os_env)
_Loader.add_constructor("!include", _Loader.include)
