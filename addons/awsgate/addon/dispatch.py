"""The hooks of a chain of addons, looked up once and called in place.

A hook that raises is logged, and the next is called.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any

from mitmproxy import exceptions
from mitmproxy.addonmanager import traverse

log = logging.getLogger("awsgate.server")

Hook = Callable[..., Any]


class Hooks:
    """The hooks of a chain of addons, by name. The chain must not change any more."""

    def __init__(self, chain: Sequence[object]) -> None:
        self._chain = chain
        self._found: dict[str, tuple[Hook, ...]] = {}

    def of(self, name: str) -> tuple[Hook, ...]:
        """Give the hooks of a name, in the order of the chain."""
        found = self._found.get(name)
        if found is None:
            hooks = (getattr(addon, name, None) for addon in traverse(self._chain))
            found = self._found[name] = tuple(hook for hook in hooks if callable(hook))
        return found


def call(
    hooks: tuple[Hook, ...], data: object, *, halts: bool = False
) -> tuple[Awaitable[None], int] | None:
    """Call hooks until one has to wait: then give what it waits for, and how many are done.

    With ``halts`` the rest is not called after ``AddonHalt``, as in mitmproxy.
    """
    for number, hook in enumerate(hooks, 1):
        try:
            pending = hook(data)
        except Exception as exc:  # noqa: BLE001 - what it was is said, without what it held
            if halts and isinstance(exc, exceptions.AddonHalt):
                return None
            log.error("a hook failed: %s", place_of(exc))  # noqa: TRY400
            continue
        if pending is not None and isawaitable(pending):
            return pending, number
    return None


async def call_on(
    hooks: tuple[Hook, ...], data: object, waiting: Awaitable[None], *, halts: bool = False
) -> None:
    """Wait, then call the rest of the hooks."""
    while True:
        try:
            await waiting
        except Exception as exc:  # noqa: BLE001 - as above
            if halts and isinstance(exc, exceptions.AddonHalt):
                return
            log.error("a hook failed: %s", place_of(exc))  # noqa: TRY400
        rest = call(hooks, data, halts=halts)
        if rest is None:
            return
        waiting, done = rest
        hooks = hooks[done:]


def place_of(exc: BaseException) -> str:
    """Give an exception's type and where it arose: its text may quote what was handled."""
    place = exc.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return type(exc).__name__
    return f"{type(exc).__name__} at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
