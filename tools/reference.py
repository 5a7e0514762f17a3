"""Generates the reference pages from docstrings, so that each fact has one place.

`python -m tools.reference` writes the pages; with `--check` it only checks whether they are up to date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import reference_api, reference_commands
from tools.table_cells import cell, code

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "reference"

HEAD = """# Configuration keys

A configuration is a plain dictionary. All keys are optional except a consumer's `topics` (or `topic_pattern`). Unknown
keys, values of the wrong type or out of range, and keys that contradict each other are reported in one `ConfigError`
when the consumer or producer is declared.

Keys that aiokafka has too have the same names and meanings. The name in brackets is the setting in Kafka's own
documentation.
"""

TABLE = "| key | type | meaning |\n| --- | --- | --- |\n"

TITLES = {
    "ConsumerConfig": "Consumers",
    "ErrorPolicy": "Error policy: `on_error`",
    "DeadLetterLimit": "Dead-letter limit: `dead_letter_limit`",
    "TopicConfig": "Topics",
    "ProducerConfig": "Producers",
    "_ConnectionOptions": "Connections: consumers and producers",
}


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    type: str
    text: str


def main() -> int:
    current = pages()
    if "--check" in sys.argv:
        return 0 if all((PAGES / name).read_text() == text for name, text in current.items()) else 1
    for name, text in current.items():
        (PAGES / name).write_text(text)
    return 0


def pages() -> dict[str, str]:
    """All reference pages: name -> text."""
    return {
        "configuration.md": configuration(ROOT / "src" / "evkafka" / "config" / "keys.py"),
        "commands.md": reference_commands.page(),
        **reference_api.pages_of(str(ROOT / "src")),
    }


def configuration(source: Path) -> str:
    """The page of configuration keys, from the TypedDicts in a source file."""
    classes = {node.name: node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)}
    parts = [HEAD]
    for name, title in TITLES.items():
        node = classes[name]
        text = _one_line(ast.get_docstring(node) or "")
        parts.append(f"\n## {title}\n\n{text}\n\n{TABLE}")
        parts += [f"| `{key.name}` | {key.type} | {key.text} |\n" for key in _keys(node)]
    return "".join(parts)


def _keys(node: ast.ClassDef) -> Iterator[Key]:
    for declared, docstring in zip(node.body, node.body[1:], strict=False):
        match declared, docstring:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation), ast.Expr(
                value=ast.Constant(value=str(text))
            ):
                yield Key(name, _type_text(annotation), cell(text))


def _type_text(annotation: ast.expr) -> str:
    text = ast.unparse(annotation).replace("'", '"')
    text = re.sub(r"^Required\[(.*)\]$", r"\1", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda found: found[1].replace(", ", " | "), text)
    return code(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
