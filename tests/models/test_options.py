from __future__ import annotations

import pytest

from edgead.errors import UsageError
from edgead.models import create_model
from edgead.models.options import Choice, Number, resolve

DECLARED = {"fusion": Choice("how", ("product", "mean")), "l2": Number("how much", 0.5)}


def test_defaults_are_filled_in_and_text_becomes_numbers() -> None:
    assert resolve("m", DECLARED, {}) == {"fusion": "product", "l2": 0.5}
    assert resolve("m", DECLARED, {"l2": "2"}) == {"fusion": "product", "l2": 2.0}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"fuson": "mean"},
            "m has no option .fuson.; it has fusion .product, mean.; l2 .a number",
        ),
        ({"fusion": "sum"}, "'fusion' of m must be one of: product, mean, not 'sum'"),
        ({"l2": "-1"}, "'l2' of m must be a number of 0 or more, not '-1'"),
        ({"l2": "nan"}, "must be a number"),
        ({"l2": "much"}, "not 'much'"),
    ],
)
def test_wrong_ones_are_refused_with_the_choices(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        resolve("m", DECLARED, given)


def test_a_model_keeps_its_options_to_be_rebuilt_from() -> None:
    made = create_model("stfpm", (64, 64), fusion="mean")
    assert made.options == {"fusion": "mean"}
    assert create_model("stfpm", (64, 64), **made.options).options == made.options
    with pytest.raises(UsageError, match="has no option 'fusion'; it has autoencoder_share"):
        create_model("efficientad-n", (96, 96), fusion="mean")
