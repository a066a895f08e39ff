"""What a chat template looks at: parsed, never rendered.

A template can carry a backdoor without a changed weight (arXiv:2602.04653): a condition on what the user wrote, or on
the date, switches in text of its own. Ordinary templates look at roles, at types and at whether there is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jinja2 import nodes

MAX_CHARACTERS = 500_000

Level = Literal["", "messages", "content", "clock"]
"""What a value was made from; the later dominates."""
_ORDER: tuple[Level, ...] = ("", "messages", "content", "clock")

_MESSAGE_NAMES = frozenset({"messages", "conversation", "conversations", "documents", "tools"})
_STRUCTURE = frozenset({"role", "type", "name", "id", "tool_call_id", "index", "from", "tool_calls", "function"})
_PART_KINDS = frozenset({"text", "image", "image_url", "audio", "video", "type", "content", "role", "tool_calls"})
_TYPE_TESTS = frozenset(
    {"defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "boolean"}
)
_COLLECTION_FILTERS = frozenset({"first", "last", "list", "reverse", "selectattr", "rejectattr", "batch", "slice"})
_SIZE_FILTERS = frozenset({"length", "count"})
_CLOCK_CALLS = frozenset({"strftime_now", "now", "time", "today"})
_CLOCK_FILTERS = frozenset({"random"})
_DECIDING_FILTERS = frozenset({"replace", "select", "reject", "selectattr", "rejectattr", "groupby", "attr", "random"})
_HARMLESS_METHODS = frozenset(
    {"strip", "lstrip", "rstrip", "join", "append", "items", "keys", "values", "upper", "lower"}
)


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """A place where a template's output hangs on ``on``; ``expression`` identifies it, ``line`` is counted from one."""

    on: Level
    expression: str
    line: int


@dataclass(frozen=True, slots=True)
class TemplateReading:
    """A parsed template. Equal ``structure`` means equal rendering; ``literals`` are the texts it can write."""

    structure: str
    conditions: tuple[Condition, ...]
    literals: frozenset[str]


class UnreadableTemplateError(ValueError):
    """The template does not parse, or is too large or too deep to be a chat template."""


def read_template(text: str) -> TemplateReading:
    """Parse a chat template in the dialect that transformers renders.

    Raises:
        UnreadableTemplateError: it cannot be parsed.
    """
    from jinja2 import TemplateError, nodes

    if len(text) > MAX_CHARACTERS:
        raise UnreadableTemplateError(f"longer than {MAX_CHARACTERS} characters")
    try:
        tree = _environment().parse(text)
        structure = repr(tree)
        conditions = _Reader(tree).conditions()
    except (TemplateError, RecursionError, ValueError) as error:
        raise UnreadableTemplateError(str(error)[:200] or type(error).__name__) from error
    literals = {node.data for node in tree.find_all(nodes.TemplateData)}
    literals |= {node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)}
    return TemplateReading(structure=structure, conditions=tuple(conditions), literals=frozenset(literals))


def _environment() -> Any:
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationBlock(Extension):
        """The {% generation %} block, which marks assistant tokens and renders as its body."""

        tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as a set

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", GenerationBlock]
    )


class _Reader:
    """Follows message content through assignments, loops and macros, without regard to order, to a fixed point."""

    def __init__(self, tree: nodes.Template) -> None:
        from jinja2 import nodes

        self.tree = tree
        self.nodes = nodes
        self.levels: dict[str, Level] = dict.fromkeys(_MESSAGE_NAMES, "messages")
        self.macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
        self.known: dict[int, Level] = {}
        while self._spread():
            pass

    def conditions(self) -> Iterator[Condition]:
        """Every test, comparison or look-up whose outcome hangs on what a message says, or on the clock."""
        seen: set[tuple[Level, str]] = set()
        for node in self.tree.find_all(self.nodes.Node):
            on = self._decides(node)
            expression = repr(node)
            if on in {"content", "clock"} and (on, expression) not in seen:
                seen.add((on, expression))
                yield Condition(on=on, expression=expression, line=node.lineno)

    def _spread(self) -> bool:
        before = dict(self.levels)
        self.known.clear()
        n = self.nodes
        for node in self.tree.find_all((n.Assign, n.AssignBlock, n.For, n.With, n.Call, n.CallBlock)):
            if isinstance(node, n.Assign):
                self._raise(node.target, self.level(node.node))
            elif isinstance(node, n.AssignBlock):
                self._raise(node.target, _highest(*(self.level(part) for part in _expressions(node, n))))
            elif isinstance(node, n.For):
                self._raise(node.target, self.level(node.iter))
            elif isinstance(node, n.With):
                for target, value in zip(node.targets, node.values, strict=True):
                    self._raise(target, self.level(value))
            elif isinstance(node, n.Call) and isinstance(node.node, n.Name) and node.node.name in self.macros:
                self._pass_arguments(node, self.macros[node.node.name])
        return before != self.levels

    def _pass_arguments(self, call: nodes.Call, macro: nodes.Macro) -> None:
        given = {argument.name: value for argument, value in zip(macro.args, call.args, strict=False)}
        given |= {keyword.key: keyword.value for keyword in call.kwargs}
        for name, value in given.items():
            self._note(name, self.level(value))

    def _raise(self, target: nodes.Node, level: Level) -> None:
        for name in target.find_all(self.nodes.Name):
            self._note(name.name, level)
        if isinstance(target, (self.nodes.Name, self.nodes.NSRef)):
            self._note(target.name, level)

    def _note(self, name: str, level: Level) -> None:
        self.levels[name] = _highest(self.levels.get(name, ""), level)

    def level(self, node: nodes.Node) -> Level:
        """What the value of an expression was made from."""
        if id(node) not in self.known:
            self.known[id(node)] = ""  # what a macro gets from itself adds nothing
            self.known[id(node)] = self._level(node)
        return self.known[id(node)]

    def _level(self, node: nodes.Node) -> Level:
        n = self.nodes
        parts: Iterable[nodes.Node] = node.iter_child_nodes()
        if isinstance(node, n.Name):
            return self.levels.get(node.name, "")
        if isinstance(node, (n.Getattr, n.Getitem)):
            return self._member(node)
        if isinstance(node, n.Filter):
            return self._filtered(node)
        if isinstance(node, n.Test) and node.name in _TYPE_TESTS:
            return ""
        if isinstance(node, n.Call) and isinstance(node.node, n.Name):
            if node.node.name in _CLOCK_CALLS:
                return "clock"
            if node.node.name in self.macros:
                parts = _expressions(self.macros[node.node.name], n)
        return _highest(*(self.level(part) for part in parts))

    def _member(self, node: nodes.Getattr | nodes.Getitem) -> Level:
        base = self.level(node.node)
        if isinstance(node, self.nodes.Getattr):
            key: Any = node.attr
        else:
            key = node.arg.value if isinstance(node.arg, self.nodes.Const) else None
            if isinstance(node.arg, self.nodes.Slice) or isinstance(key, int):
                return base
            if key is None and base == "messages":
                return (
                    "messages"
                    if isinstance(node.node, self.nodes.Name) and node.node.name in _MESSAGE_NAMES
                    else "content"
                )
            base = _highest(base, self.level(node.arg)) if key is None else base
        if base in {"messages", "content"} and isinstance(key, str):
            return ("messages" if key == "tool_calls" else "") if key in _STRUCTURE else "content"
        return base if key is None or base in {"", "clock"} else "content"

    def _filtered(self, node: nodes.Filter) -> Level:
        base = self.level(node.node) if node.node is not None else ""
        rest = _highest(*(self.level(part) for part in node.args), *(self.level(k.value) for k in node.kwargs))
        if node.name in _CLOCK_FILTERS:
            return "clock"
        if base == "messages":
            named = any("content" in repr(part) for part in (*node.args, *node.kwargs))
            if node.name in _SIZE_FILTERS:
                return rest
            return "messages" if node.name in _COLLECTION_FILTERS and not named else "content"
        return _highest(base, rest)

    def _decides(self, node: nodes.Node) -> Level:
        """What the outcome of this node alone hangs on; "" for structure, types and emptiness."""
        n = self.nodes
        if isinstance(node, n.Compare):
            return "" if self._structural(node) else self.level(node)
        if isinstance(node, n.Test):
            return self.level(node)
        if isinstance(node, n.Getitem) and not isinstance(node.arg, (n.Const, n.Slice)):
            return self.level(node.arg)
        if isinstance(node, n.Call) and isinstance(node.node, n.Getattr) and (node.args or node.kwargs):
            return "" if node.node.attr in _HARMLESS_METHODS else self.level(node)
        if isinstance(node, n.Filter) and node.name in _DECIDING_FILTERS:
            return self.level(node)
        return ""

    def _structural(self, node: nodes.Compare) -> bool:
        """A comparison with nothing, or a look at which kind of part this is ('image' in part)."""
        n = self.nodes
        constants = [part.value for part in (node.expr, *(o.expr for o in node.ops)) if isinstance(part, n.Const)]
        if any(constant in ("", None) for constant in constants):
            return True
        parts = isinstance(node.expr, n.Const) and node.expr.value in _PART_KINDS
        return parts and node.ops[0].op in {"in", "notin"} and isinstance(node.ops[0].expr, n.Name)


def _highest(*levels: Level) -> Level:
    return max(levels, key=_ORDER.index, default="")


def _expressions(node: nodes.Node, n: Any) -> Iterator[nodes.Node]:
    """The values a block writes."""
    for output in node.find_all(n.Output):
        yield from output.nodes
