"""Plain dataclasses from plain mappings: typed, and every mistake named with its dotted path."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gsp_unroll import checks

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key and the rule."""


def from_mapping(cls: type[T], mapping: Mapping[str, Any], section: str = "") -> T:
    """Build the dataclass ``cls`` from a nested mapping, checking every key and every type.

    Args:
        cls: A dataclass; its fields may be ``bool``, ``int``, ``float``, ``str``, ``Literal``,
            ``X | None``, ``list[X]``, ``dict[str, Any]`` or another dataclass.
        mapping: What was read from a file. Absent keys take the field's default.
        section: Dotted path of ``cls`` inside the whole configuration, for messages.

    Raises:
        ConfigError: Unknown key (the nearest known one is named), missing key, wrong type, or a
            value that the dataclass itself refuses.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(
            f"{section or 'the configuration'} must be a section of keys, "
            f"got {type(mapping).__name__} {mapping!r}"
        )
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise ConfigError(_unknown_key(key, list(fields), section))
    values = {}
    for name, field in fields.items():
        path = f"{section}.{name}" if section else name
        if name in mapping:
            values[name] = coerce(mapping[name], hints[name], path)
        elif dataclasses.is_dataclass(hints[name]):
            values[name] = from_mapping(hints[name], {}, path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"missing key {path!r}: it has no default")
    try:
        return cls(**values)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        # The dataclass names its own argument; say in which section that stands.
        where = f"in section {section!r}: " if section else ""
        raise ConfigError(f"{where}{error}") from error


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a dataclass as nested dictionaries, in field order: inverse of `from_mapping`."""
    return dataclasses.asdict(config)


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, path))
        else:
            flat[path] = value
    return flat


def set_by_path(mapping: dict[str, Any], path: str, value: Any) -> None:
    """Set ``mapping["a"]["b"] = value`` for the dotted ``path`` ``"a.b"``; sections are created."""
    *sections, key = path.split(".")
    node = mapping
    for depth, name in enumerate(sections):
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{'.'.join(sections[: depth + 1])!r} is a value, not a section")
    node[key] = value


def coerce(value: Any, kind: Any, path: str) -> Any:
    """Return ``value`` as ``kind``, or raise `ConfigError` naming ``path``, value and rule."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return from_mapping(kind, value, path)  # type: ignore[arg-type]
    if origin is Literal:
        return _literal(value, get_args(kind), path)
    if origin in (Union, types.UnionType):
        return _union(value, get_args(kind), path)
    if origin in (list, tuple):
        return _sequence(value, kind, path)
    if origin is dict or kind is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ConfigError(f"{path} must be a section of named values, got {value!r}")
        return dict(value)
    return _scalar(value, kind, path)


def _scalar(value: Any, kind: Any, path: str) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is int and not isinstance(value, bool):
        if isinstance(value, int):
            return value
        # `steps: 1e5` is a float to YAML; it is meant, and exact.
        if isinstance(value, float) and value.is_integer():
            return int(value)
    if kind is float and not isinstance(value, bool):
        number = _as_float(value)
        if number is not None:
            if not math.isfinite(number):
                raise ConfigError(f"{path} must be a finite number, got {value!r}")
            return number
    rule = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    hint = ""
    if kind is str and isinstance(value, (bool, int, float)):
        hint = "; quote it if a text is meant"
    raise ConfigError(
        f"{path} must be {rule.get(kind, kind)}, got {type(value).__name__} {value!r}{hint}"
    )


def _as_float(value: Any) -> float | None:
    """Return a number, or a text such as ``"1e-4"`` that spells one, as ``float``."""
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _literal(value: Any, allowed: tuple[Any, ...], path: str) -> Any:
    # `True == 1` in Python: compare the types too.
    if any(value == choice and type(value) is type(choice) for choice in allowed):
        return value
    hint = checks.did_you_mean(value, map(str, allowed))
    listed = ", ".join(map(repr, allowed))
    raise ConfigError(f"{path} must be one of {listed}, got {value!r}{hint}")


def _union(value: Any, members: tuple[Any, ...], path: str) -> Any:
    if value is None and type(None) in members:
        return None
    errors = []
    for member in members:
        if member is type(None):
            continue
        try:
            return coerce(value, member, path)
        except ConfigError as error:
            errors.append(str(error))
    tail = "; or null" if type(None) in members else ""
    raise ConfigError("; ".join(errors) + tail)


def _sequence(value: Any, kind: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ConfigError(f"{path} must be a list, got {type(value).__name__} {value!r}")
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise ConfigError(f"{path} must hold {len(arguments)} values, got {list(value)!r}")
        kinds = arguments
    else:
        kinds = (arguments[0],) * len(value)
    pairs = zip(value, kinds, strict=True)
    return origin(coerce(v, k, f"{path}[{i}]") for i, (v, k) in enumerate(pairs))


def _unknown_key(key: object, known: list[str], section: str) -> str:
    where = f"section {section!r}" if section else "the top level"
    hint = checks.did_you_mean(key, known, cutoff=0.4) or f"; known keys: {', '.join(known)}"
    return f"unknown key {key!r} in {where}{hint}"
