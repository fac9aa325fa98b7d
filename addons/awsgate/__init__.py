"""AWS access without AWS keys: an intercepting, verifying, re-signing gateway."""

__version__ = "0.1.0"
