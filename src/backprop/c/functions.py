"""The functions in C that exported files are put together from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["needed", "renamed"]

_DEFINITION = re.compile(r"^static [^\n]*?(\w+)\([^;{]*\)\s*\{\n.*?^\}\n", re.MULTILINE | re.DOTALL)
#: What is no function, and comes first where it is used.
_OTHER = re.compile(
    r"^#define (\w+)(?:[^\n]*\\\n)*[^\n]*\n|^typedef struct \{\n.*?^\} (\w+);\n", re.MULTILINE | re.DOTALL
)


@cache
def _all() -> dict[str, str]:
    """Definitions by name, each after those that it uses."""
    text = "".join(_read(name) for name in ("kernels.inc", "layers.inc", "integers.inc"))
    found = {one[1] or one[2]: one[0] for one in _OTHER.finditer(text)}
    return found | {one[1]: one[0] for one in _DEFINITION.finditer(text)}


def _read(name: str) -> str:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    if name != "layers.inc":
        return text
    return "".join(re.sub(r"(?<=\w_)r\b", real[0], re.sub(r"\breal\b", real, text)) for real in ("float", "double"))


def needed(names: Iterable[str]) -> dict[str, str]:
    """The definitions of these and of what they use, in the order of their use."""
    known, wanted, todo = _all(), set[str](), [*names]
    while todo:
        name = todo.pop()
        if name in known and name not in wanted:
            wanted.add(name)
            todo += re.findall(r"\w+", known[name])
    return {name: text for name, text in known.items() if name in wanted}


def renamed(text: str, names: Iterable[str], prefix: str) -> str:
    """The text with a prefix to these names, so that two files can be one."""
    return re.sub(rf"\b({'|'.join(names)})\b", rf"{prefix}_\1", text) if names else text
