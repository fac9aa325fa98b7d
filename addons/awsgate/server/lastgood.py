"""A copy of the last policy that was in order, for workers that start while it is not.

A policy with a fault changes nothing: that must hold for a worker too that takes the
place of a dead one. The parent watches the policy and keeps the copy, in a folder that
nobody else may enter.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from awsgate.errors import SetupError
from awsgate.paths import is_policy_file
from awsgate.policyfile import load_policy


class LastGood:
    """The copy. ``folder`` is there, and holds nothing else."""

    def __init__(self, policy: Path, folder: Path) -> None:
        self._policy, self._folder = policy, folder
        self._count = 0
        self.path: Path | None = None
        """None: there is none yet."""

    def keep(self) -> None:
        """Take the policy as it stands now; if it is not in order, keep what was taken."""
        self._count += 1
        made = self._folder / str(self._count)
        try:
            made.mkdir(mode=0o700)
            for file in _files(self._policy):
                shutil.copyfile(file, made / file.name)
            load_policy(made)
        except (OSError, SetupError):
            shutil.rmtree(made, ignore_errors=True)
            return
        old, self.path = self.path, made
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def _files(policy: Path) -> list[Path]:
    """Give the files that ``policyfile.load_policy`` reads."""
    if not policy.is_dir():
        return [policy]
    return [entry for entry in policy.iterdir() if is_policy_file(entry.name)]
