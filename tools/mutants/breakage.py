"""One small breakage of the engine: what is replaced, what that would cost a user, and which tests must fail."""

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
        name: what is broken, in a few words.
        file: below `src/evkafka`.
        old: a text that occurs exactly once in the file.
        new: what takes its place.
        cost: what a user would see of it, in one sentence.
        seen_by: tests, of which at least one must fail: files, or single ones as pytest names them.
    """

    name: str
    file: str
    old: str
    new: str
    cost: str
    seen_by: tuple[str, ...]

    def fault(self, root: Path) -> str | None:
        """Why it cannot be applied to this tree; None where it can."""
        path = root / SOURCE / self.file
        if not path.is_file():
            return f"{path} does not exist"
        if (times := path.read_text(encoding="utf-8").count(self.old)) != 1:
            return f"its text occurs {times} times in {path}, and must occur once"
        if missing := [one for one in self.seen_by if not _exists(root, one)]:
            return f"the tests {', '.join(missing)} do not exist"
        return None

    @contextmanager
    def applied(self, root: Path) -> Iterator[None]:
        """The tree is broken inside of this, and whole again behind it."""
        path = root / SOURCE / self.file
        whole = path.read_text(encoding="utf-8")
        _write(path, whole.replace(self.old, self.new))
        try:
            yield
        finally:
            _write(path, whole)


def _exists(root: Path, test: str) -> bool:
    path, *names = test.partition("[")[0].split("::")
    if not (root / path).is_file():
        return False
    text = (root / path).read_text(encoding="utf-8")
    return all(f"def {name}(" in text or f"class {name}" in text for name in names)


def _write(path: Path, text: str) -> None:
    """Without the compiled file: Python compares time and size, and a replacement may keep both."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
