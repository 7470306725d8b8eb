"""What a user can choose about a detector, declared by its class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgead.errors import UsageError

OptionValue = str | float


@dataclass(frozen=True)
class Choice:
    """An option that is one of a few words.

    Attributes:
        help: What it decides.
        choices: The words; the first is the default.
    """

    help: str
    choices: tuple[str, ...]

    @property
    def default(self) -> str:
        """The value where none is given."""
        return self.choices[0]

    def parse(self, value: OptionValue) -> str:
        """Check a value.

        Raises:
            ValueError: Says what it must be.
        """
        if value not in self.choices:
            raise ValueError(f"one of: {', '.join(self.choices)}")
        return str(value)

    def __str__(self) -> str:
        return ", ".join(self.choices)


@dataclass(frozen=True)
class Number:
    """An option that is a number of 0 or more.

    Attributes:
        help: What it decides.
        default: The value where none is given.
        most: The largest that it takes.
        before: What trainings did that were recorded before there was the option; ``None``: the
            default.
    """

    help: str
    default: float
    most: float = math.inf
    before: float | None = None

    def parse(self, value: OptionValue) -> float:
        """Check a value, a number or its text.

        Raises:
            ValueError: Says what it must be.
        """
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and 0 <= number <= self.most):
            raise ValueError(self._range)
        return number

    @property
    def _range(self) -> str:
        if math.isinf(self.most):
            return "a number of 0 or more"
        return f"a number from 0 to {self.most:g}"

    def __str__(self) -> str:
        return f"{self._range}, default {self.default:g}"


Option = Choice | Number


def spelled(values: Mapping[str, OptionValue]) -> str:
    """Write option values into a sentence; nothing where there are none."""
    return "".join(f" with {name}={value}" for name, value in values.items())


def resolve(
    model: str, declared: Mapping[str, Option], given: Mapping[str, OptionValue]
) -> dict[str, OptionValue]:
    """Check the options given for a detector and fill in the defaults.

    Args:
        model: The detector's name, for errors.
        declared: Its options.
        given: Values by name, as typed or as stored.

    Raises:
        UsageError: An unknown option or a value that it does not take; names the choices.
    """
    for name in given:
        if name not in declared:
            known = "; ".join(f"{key} ({option})" for key, option in declared.items())
            raise UsageError(f"{model} has no option '{name}'; it has {known or 'none'}")
    values: dict[str, OptionValue] = {}
    for name, option in declared.items():
        try:
            values[name] = option.parse(given.get(name, option.default))
        except ValueError as error:
            raise UsageError(
                f"the option '{name}' of {model} must be {error}, not '{given[name]}'"
            ) from error
    return values


def recorded(
    declared: Mapping[str, Option], given: Mapping[str, OptionValue]
) -> dict[str, OptionValue]:
    """Fill in what a record leaves out with what its training did, not with today's defaults.

    Args:
        declared: A detector's options.
        given: Values as a training recorded them; options that came later are missing.
    """
    values = dict(given)
    for name, option in declared.items():
        if name not in values and isinstance(option, Number) and option.before is not None:
            values[name] = option.before
    return values
