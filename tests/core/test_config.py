"""Configuration from mappings: what is accepted, and what each refusal says."""

from dataclasses import dataclass

import pytest

from sciml.core import MissingExtraError, digest, from_mapping, require_extra
from sciml.core.checks import check_finite, check_increasing, check_multiple, check_positive, check_shape


@dataclass(frozen=True)
class Inner:
    size: int
    scale: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    shape: tuple[int, ...] = (1,)
    options: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` must not be empty. Give a name.")


def test_nested_mapping():
    outer = from_mapping(Outer, {"name": "a", "inner": {"size": 3, "scale": 2}, "shape": [1, 2]}, "file.toml")
    assert outer == Outer("a", Inner(3, 2.0), (1, 2))
    assert isinstance(outer.inner.scale, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"name": "a", "inner": {"size": 3}, "shpae": [1]},
            r"file.toml: .*got `shpae`. Did you mean `shape`\?",
        ),
        ({"name": "a", "inner": {"size": 3, "qqq": 1}}, r"key `inner`: every key must be known, got `qqq`"),
        ({"name": "a"}, "the key `inner` is required and missing"),
        ({"name": "a", "inner": {"size": 2.5}}, r"key `size`: must be of type int, got 2.5 \(float\)"),
        ({"name": "a", "inner": {"size": True}}, r"must be of type int, got True \(bool\)"),
        (
            {"name": "a", "inner": {"size": 1}, "options": {"x": "y"}},
            r"key `options`.x: must be of type float",
        ),
        ({"name": "", "inner": {"size": 3}}, "file.toml: `name` must not be empty"),
    ],
)
def test_refusals_name_place_and_remedy(mapping, message):
    with pytest.raises(ValueError, match=message):
        from_mapping(Outer, mapping, "file.toml")


def test_digest_ignores_order_and_sees_values():
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest(Outer("a", Inner(3))) != digest(Outer("a", Inner(4)))


def test_missing_extra_is_named():
    with pytest.raises(MissingExtraError, match=r"extra `report`: pip install 'sciml-torch\[report\]'"):
        require_extra("no_such_package.inside", "report")


def test_checks_say_rule_value_and_remedy():
    import torch

    with pytest.raises(ValueError, match="`dt` must be positive and finite, got nan"):
        check_positive("dt", float("nan"))
    with pytest.raises(ValueError, match=r"`u` must have shape \(any, 3\), that is rows; got \(2, 2\)"):
        check_shape("u", torch.zeros(2, 2), (None, 3), "rows")
    with pytest.raises(ValueError, match=r"u\[1, 0\] is nan \(1 such entries\)"):
        check_finite("u", torch.tensor([[1.0], [float("nan")]]))
    with pytest.raises(ValueError, match=r"ts\[1\]=1 is followed by ts\[2\]=1"):
        check_increasing("ts", torch.tensor([0.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"whole multiple of `dt`, got 1 / 0.3"):
        check_multiple("frame", 1.0, "dt", 0.3)
    assert check_multiple("frame", 0.8, "dt", 0.2) == 4
