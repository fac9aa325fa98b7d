"""The policy on disk: a file or a folder of YAML, read whole, every fault at once.

    policy/*.yaml  ->  documents with their place  ->  ``policy.parse_policy``

Stricter than YAML, since who reads a policy must see what the gateway sees: no key
twice in a mapping, no merge keys, no explicit tags, few aliases, no depth.

Only importer of yaml.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Any, Protocol

import yaml

from awsgate.errors import SetupError
from awsgate.paths import is_policy_file
from awsgate.policy import Policy, parse_policy

MAX_FILE_BYTES = 1024**2
MAX_ALIASES = 32  # a chain of n aliases can stand for 3^(n/3) nodes
MAX_DEPTH = 32

_PLAIN = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null"))


def load_policy(path: Path) -> Policy:
    """Read the policy at ``path``: a file, or all ``*.yaml`` and ``*.yml`` of a folder.

    Subfolders and hidden files are not read. Raises ``SetupError`` with every fault
    of every file; without faults, if there is no policy.
    """
    faults: list[str] = []
    documents: list[tuple[str, object]] = []
    complete = True
    for file, shown in _files(path, faults):
        text = _read(file, shown, faults)
        whole = text is not None and _documents(text, shown, documents, faults)
        complete = complete and whole
    hint = f"awsgate check {shlex.quote(str(path))} shows faults without starting the gateway"
    return parse_policy(documents, faults=faults, complete=complete, hint=hint)


def _files(path: Path, faults: list[str]) -> list[tuple[Path, str]]:
    """Give each file with its name for messages, short and the same wherever run."""
    try:
        if not path.is_dir():
            path.stat()
            return [(path, path.name)]
        names = sorted(entry.name for entry in path.iterdir() if is_policy_file(entry.name))
        folder = path.absolute().name
        if _is_open_to_all(path):
            faults.append(f"{folder}: anybody may write to this folder (chmod o-w)")
    except FileNotFoundError:
        raise SetupError(
            f"no policy at {path}",
            hint="awsgate init writes a first one; or name a policy file or folder: --policy."
            " To use a gateway elsewhere: awsgate login",
        ) from None
    except OSError as exc:
        raise SetupError(f"policy {path} cannot be read: {exc.strerror}") from exc
    if not names:
        raise SetupError(
            f"no policy in {path}: it holds no *.yaml file",
            hint="awsgate init writes a first one",
        )
    return [(path / name, f"{folder}/{name}") for name in names]


def _is_open_to_all(folder: Path) -> bool:
    """True if anybody could replace a file here."""
    mode = folder.stat().st_mode
    if not mode & stat.S_IWOTH or mode & stat.S_ISVTX:
        return False
    # Kubernetes mounts config maps with mode 0777, read-only.
    return not os.statvfs(folder).f_flag & os.ST_RDONLY


def _read(file: Path, shown: str, faults: list[str]) -> str | None:
    """Give the text of a file, or note why not."""
    try:
        if not file.is_file():  # also a link to nowhere: a policy may not lose a file silently
            faults.append(f"{shown}: is not a regular file")
            return None
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & stat.S_IWOTH:
                faults.append(f"{shown}: anybody may write to this file (chmod o-w)")
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        faults.append(f"{shown}: cannot be read: {exc.strerror}")
        return None
    if len(raw) > MAX_FILE_BYTES:
        faults.append(f"{shown}: is over {MAX_FILE_BYTES} bytes: split it")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        faults.append(f"{shown}:{line}: is not UTF-8")
        return None


def _documents(
    text: str, shown: str, documents: list[tuple[str, object]], faults: list[str]
) -> bool:
    """Parse all documents of a file up to the first that is no YAML. True: there was none."""
    try:
        loader = _Loader(text)
        loader.begin(shown, faults)
        number = 0
        while loader.check_data():  # type: ignore[no-untyped-call]
            number += 1
            documents.append((f"{shown} document {number}", loader.get_data()))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        faults.append(f"{_place(shown, mark)}: {exc.problem or exc.context}")
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        faults.append(f"{shown}:{line}: holds a character that YAML does not allow")
    else:
        return True
    return False


class _Mark(Protocol):
    """Where in a text: PyYAML has two classes for it."""

    line: int
    column: int


def _place(shown: str, mark: _Mark | None) -> str:
    return f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown


def _fault(problem: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without the parts of YAML that mislead a reader."""

    def begin(self, shown: str, faults: list[str]) -> None:
        """Say where faults go that do not end the parse."""
        self._shown = shown
        self._faults = faults
        self._aliases = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse what can grow without bound, and tags, before a node is built."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > MAX_ALIASES:
                raise _fault(f"more than {MAX_ALIASES} aliases", event)
        elif getattr(event, "tag", None) not in (None, "!"):
            raise _fault("tags are not allowed here", event)
        if self._depth >= MAX_DEPTH:
            raise _fault(f"nested deeper than {MAX_DEPTH}", event)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Give a fault its place: PyYAML lets a bare ValueError out for some scalars."""
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as exc:
            raise _fault(f"not a valid value: {exc}", node) from exc

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Note keys that come twice: YAML takes the last and says nothing."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                place = _place(self._shown, key.start_mark)
                self._faults.append(f"{place}: key {key.value[:80]!r} is there twice")
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)


# This class's own table. What is left out stays text: dates, and the merge key '<<',
# which would let a mapping hold keys that do not stand in it.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
