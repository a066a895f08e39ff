"""Reading YAML that people write by hand: one meaning for each document, and the line of every value in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from weightgate.lineage.errors import InputError


@dataclass(frozen=True, slots=True)
class Document:
    """The plain value of a document and the nodes it was read from."""

    value: Any
    root: yaml.Node

    def line(self, path: Sequence[str | int]) -> int:
        """Line (from 1) of the value at ``path``, or of its nearest parent that is in the text."""
        node, line = self.root, self.root.start_mark.line
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            node, line = found
        return line + 1


def parse_yaml(data: bytes, what: str) -> Document:
    """Parse one YAML document of plain maps, lists and scalars.

    Aliases are refused because a short text can stand for an exponentially large document through them, tags because
    they make anything but plain values. Dates stay text.

    Raises:
        InputError: not YAML, more than one document, a key given twice, an alias, a merge key, a tag, or nested too
            deep; the message starts with ``what`` and the line.
    """
    try:
        loader = _StrictLoader(data)
        root = loader.get_single_node()
        if root is None:
            raise InputError(f"{what} is empty", remedy="the documentation shows what belongs in it")
        return Document(value=loader.construct_document(root), root=root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{what}:{mark.line + 1}" if mark else what
        raise InputError(f"{where}: {error.problem}", remedy="correct the YAML at that line") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{what} is not YAML: {error}", remedy="write it as UTF-8 text") from error
    except RecursionError as error:
        raise InputError(
            f"{what} is nested too deep", remedy="no document here needs more than a few levels"
        ) from error


_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without aliases, tags, dates, merge keys and repeated keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class declares it without ClassVar
        first: [pair for pair in pairs if pair[0] != _TIMESTAMP]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            what = "aliases (*name)" if isinstance(event, yaml.AliasEvent) else f"tags ({event.tag})"
            mark: Any = event.start_mark
            raise yaml.composer.ComposerError(None, None, f"{what} are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            fault = ""
            if key.tag == _MERGE or not isinstance(self.construct_object(key, deep=True), str):
                fault = f"a key must be text, not {key.value!r:.60}"
            elif key.value in seen:
                fault = f"the key '{key.value}' is given twice"
            if fault:
                raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item, item.start_mark.line
    return None
