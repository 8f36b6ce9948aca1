"""Whether a program of `torch.export` is one that can be read without running what is in it.

torch reads such files trustingly: it unpickles where told to, loads compiled libraries, evaluates
expressions for sizes as Python, and takes any function of torch's for an operator. Of a network
none of that is needed.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from atcore.base.errors import UserError
from atcore.base.pickles import would_run

_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|torchvision)\.\w+(\.\w+)?"
    r"|_operator\.\w+|math\.\w+|torch\._?sym_\w+"
)
# Of sympy's classes, which begin with a capital, of symbols and numbers: no attribute, no function.
_EXPRESSION = re.compile(
    r"([A-Z]\w*+|[a-z]\w*+(?!\s*+\()|'\w*+'|\d++(\.\d++)?|[\s()+\-*/%,<>=&|~])*+"
)
_NAME = re.compile(r"[\w.:/\- ]*")
# Where they stand in the description of a program.
_NAMES = ("name", "parameter_name", "buffer_name", "tensor_constant_name", "as_name")


def _values(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every key of the objects in JSON, at any depth, with its value."""
    if isinstance(tree, dict):
        yield from tree.items()
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, dict | list):
            yield from _values(child)


def _strange(description: Any) -> Iterator[str]:
    for key, value in _values(description):
        if key == "nodes":
            for node in value:
                if not _OPERATOR.fullmatch(node["target"]):
                    yield f"the operator {node['target']}"
        elif key == "as_operator" and not _OPERATOR.fullmatch(value):
            yield f"the operator {value}"
        elif key == "expr_str" and not _EXPRESSION.fullmatch(value):
            yield f"the size {value}"
        elif key == "range_constraints" and not all(map(_EXPRESSION.fullmatch, value)):
            yield "a strange size"
        elif key in _NAMES and isinstance(value, str) and not _NAME.fullmatch(value):
            yield f"the name {value}"
        elif key == "use_pickle" and value:
            yield "a pickle"


def _found(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        if "/aotinductor/" in name:
            yield "a compiled library"
        elif name.endswith(".json") and "/extra/" not in name:
            yield from _strange(json.loads(archive.read(name)))
        elif name.endswith(".pt") and (content := archive.read(name)):
            ran = would_run(content)
            if ran is not None:
                yield f"a pickle that runs {ran}"
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def require_plain(data: bytes) -> None:
    """Check that reading a program runs none of what is in its file.

    Raises:
        UserError: it would, and by what; or the bytes are no program.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = next(_found(archive), None)
    except Exception as error:  # whatever archives, JSON and tensors of others stumble over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"no program of torch.export ({reason})") from error
    if found is not None:
        found = " ".join(found.split())[:100]
        raise UserError(f"holds {found}; not read, as no network needs that and it may run code")
