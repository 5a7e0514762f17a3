"""One breakage of the source: the replacement, what it would cost a user, and the tests that must fail."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("src") / "evkafka"


@dataclass(frozen=True)
class Breakage:
    """A text replacement in one file.

    Attributes:
        name: the wrong behaviour, in a few words.
        file: the path below `src/evkafka`.
        old: a text that occurs exactly once in the file.
        new: the text that replaces it.
        cost: the consequence for a user.
        seen_by: test files, or single tests as pytest names them; at least one test must fail.
    """

    name: str
    file: str
    old: str
    new: str
    cost: str
    seen_by: tuple[str, ...]

    def find_fault(self, root: Path) -> str | None:
        """Return why it cannot be applied to this tree, or None if it can."""
        path = root / SOURCE / self.file
        if not path.is_file():
            return f"{path} does not exist"
        if (times := path.read_text(encoding="utf-8").count(self.old)) != 1:
            return f"its text occurs {times} times in {path}, and must occur once"
        if missing := [one for one in self.seen_by if not _test_exists(root, one)]:
            return f"the tests {', '.join(missing)} do not exist"
        return None

    @contextmanager
    def apply(self, root: Path) -> Iterator[None]:
        """Break the tree inside this context, and restore it afterwards."""
        path = root / SOURCE / self.file
        original = path.read_text(encoding="utf-8")
        _write(path, original.replace(self.old, self.new))
        try:
            yield
        finally:
            _write(path, original)


def _test_exists(root: Path, test: str) -> bool:
    path, *names = test.partition("[")[0].split("::")
    if not (root / path).is_file():
        return False
    text = (root / path).read_text(encoding="utf-8")
    return all(f"def {name}(" in text or f"class {name}" in text for name in names)


def _write(path: Path, text: str) -> None:
    """Write the file and delete its compiled file: Python compares time and size, and a replacement may keep both."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
