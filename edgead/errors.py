"""The exceptions of edgead, each with the exit code of the command line.

Every message is one sentence (or two) that names the cause and the next step.
"""


class EdgeadError(Exception):
    """Something the user can act on; printed without a traceback, exit code 1."""

    exit_code = 1


class UsageError(EdgeadError):
    """The command or call itself is wrong (an option, a path that is not what it must be)."""

    exit_code = 2


class GateRefused(EdgeadError):
    """An accuracy gate or a verdict refused a result; it was not written."""

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
    """The requested runtime cannot work here; the message has the reason."""


class TrainingError(EdgeadError):
    """Training cannot go on or cannot be resumed."""


class ParityError(GateRefused):
    """The scores of the exported graph differ from those of the trained detector."""
