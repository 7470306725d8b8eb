"""The exceptions a user can meet, each with the exit code that the command line gives it.

Every message is one sentence (or two) that names the cause and the next step.
"""


class EdgeadError(Exception):
    """Something the user can act on; printed without a traceback, exit code 1."""

    exit_code = 1


class UsageError(EdgeadError):
    """The command or call itself is wrong (an option, a path that is not what it must be)."""

    exit_code = 2


class GateRefused(EdgeadError):
    """An accuracy gate or a verdict said no; the result was not put in place."""

    exit_code = 3


class MissingDependencyError(EdgeadError):
    """An optional package is not installed; the message has the command that installs it."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package '{package}', which is not installed here: "
            f"pip install 'edgead[{extra}]'"
        )


class ImageError(EdgeadError):
    """A photo cannot be read or is not of a kind that can be scored."""


class DataError(EdgeadError):
    """A folder of photos does not hold what the command needs."""


class ArtifactError(EdgeadError):
    """An exported file is not one of ours, is damaged, or is from a newer edgead."""


class RuntimeUnavailableError(EdgeadError):
    """The runtime asked for cannot work here; the message says why."""


class TrainingError(EdgeadError):
    """Training cannot go on or cannot be resumed."""


class ParityError(GateRefused):
    """The exported graph does not give the trained detector's scores."""
