"""What parts of a line raise. All of them are caught by the line, counted and shown."""

from edgead.errors import EdgeadError, UsageError


class ConfigError(UsageError):
    """The configuration is wrong; names the file, the key and the nearest valid one."""


class SourceError(EdgeadError):
    """A camera cannot be opened or gives no frames any more. The line tries again."""


class OutputError(EdgeadError):
    """An output could not be written. The line tries the next verdict."""


class DisconnectedError(OutputError):
    """The peer of an output is gone: the output is opened again, and the verdict waits for it."""
