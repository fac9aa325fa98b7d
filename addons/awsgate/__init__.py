"""AWS access without AWS keys: an intercepting, verifying, re-signing gateway."""

from awsgate.version import __version__

__all__ = ["__version__"]
