from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gsp_unroll.training.schema import (
    ConfigError,
    coerce,
    flatten,
    from_mapping,
    set_by_path,
    to_mapping,
)


@dataclass
class Inner:
    rate: float = 0.5
    limit: float | None = 1.0
    kind: Literal["mse", "l1"] = "mse"


@dataclass
class Outer:
    count: int
    inner: Inner
    flag: bool = False
    names: list[str] = field(default_factory=list)
    pair: tuple[int, int] = (1, 2)
    free: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be at least 0, got {self.count}")


def test_round_trip_with_defaults():
    config = from_mapping(Outer, {"count": 3, "inner": {"rate": 2}, "names": ["a"]})
    assert config == Outer(3, Inner(rate=2.0), names=["a"])
    assert isinstance(config.inner.rate, float)
    assert from_mapping(Outer, to_mapping(config)) == config
    assert from_mapping(Outer, {"count": 1}).inner == Inner()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"count": 1, "fleg": True}, r"unknown key 'fleg' in the top level; did you mean 'flag'"),
        ({"count": 1, "inner": {"raet": 1}}, r"unknown key 'raet' in section 'inner'.*'rate'"),
        ({"count": 1, "inner": {"zzzzzz": 1}}, r"known keys: rate, limit, kind"),
        ({"inner": {}}, "missing key 'count'"),
        ({"count": 1, "inner": {"rate": "fast"}}, r"inner\.rate must be a number, got str 'fast'"),
        ({"count": 1, "inner": {"rate": True}}, r"inner\.rate must be a number, got bool"),
        ({"count": 1, "inner": {"rate": float("nan")}}, r"inner\.rate must be a finite number"),
        ({"count": 1, "inner": {"limit": "x"}}, r"inner\.limit must be a number.*or null"),
        ({"count": 1, "inner": {"kind": "ms"}}, r"inner\.kind must be one of 'mse', 'l1'.*'mse'"),
        ({"count": 1, "inner": 3}, "inner must be a section of keys, got int 3"),
        ({"count": 1.5}, "count must be a whole number, got float 1.5"),
        ({"count": True}, "count must be a whole number, got bool True"),
        ({"count": 1, "flag": 1}, "flag must be true or false, got int 1"),
        ({"count": 1, "names": "abc"}, "names must be a list, got str 'abc'"),
        ({"count": 1, "names": ["a", 2]}, r"names\[1\] must be a text, got int 2; quote it"),
        ({"count": 1, "pair": [1]}, "pair must hold 2 values"),
        ({"count": 1, "free": [1]}, "free must be a section of named values"),
        ({"count": -1}, "count must be at least 0, got -1"),
        ([1], "the configuration must be a section of keys, got list"),
    ],
)
def test_every_mistake_is_named(mapping, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, mapping)


def test_numbers_that_are_meant():
    assert coerce("1e-4", float, "lr") == 1e-4
    assert coerce(1e5, int, "steps") == 100_000
    assert isinstance(coerce(1e5, int, "steps"), int)
    assert coerce(None, float | None, "clip") is None
    with pytest.raises(ConfigError, match="lr must be a number, got NoneType None"):
        coerce(None, float, "lr")


def test_paths():
    tree = {"a": {"b": 1}, "c": 2}
    set_by_path(tree, "a.d", 3)
    assert flatten(tree) == {"a.b": 1, "a.d": 3, "c": 2}
    with pytest.raises(ConfigError, match="'c' is a value, not a section"):
        set_by_path(tree, "c.x", 1)
