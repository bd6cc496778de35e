"""Model files by hand: their headers, as text and as bytes."""

import json
from typing import Any

#: Text that JSON, UTF-8 and readers of lines have trouble with.
AWKWARD = '\x00\x07\b\t\n\f\r\x1f\x7f\u2028\ufeff "\\/{}é漢😀'


def split(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the parsed header, the padding and the rest."""
    end = 8 + int.from_bytes(data[:8], "little")
    text = data[8:end].rstrip(b" ")
    return json.loads(text), data[8 + len(text) : end], data[end:]


def with_header(header: str | bytes, rest: bytes = b"") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + rest


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def signed(tensors: str, digest: str = "0" * 64) -> str:
    """Return a header with metadata that pass all checks but the last."""
    return f'{{"__metadata__":{{"sha256":"{digest}"}}{tensors and ","}{tensors}}}'


def tensor(name: str = "a", dtype: str = '"F32"', shape: str = "[2]", offsets: str = "[0,8]") -> str:
    return f'"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'
