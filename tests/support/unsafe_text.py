"""Text with characters that a terminal or a browser interprets."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import strategies as st

ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\ud800\udfff\x1b\u202e\u2066\x9b\n\r\t\x00\u2028[]\\")))


def acted_on(text: str) -> list[str]:
    found = {character for character in set(text) if unicodedata.category(character) in ACTED_ON}
    return re.findall(f"[{re.escape(''.join(found))}]", text) if found else []


ACTED_ON = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that move a cursor, change the direction of text, end a line, or cannot be encoded."""
