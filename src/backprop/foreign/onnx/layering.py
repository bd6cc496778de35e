"""Values of an ONNX model as layers: chains from one value to another, with chains within them."""

from __future__ import annotations

import numpy as np

from ... import _validate, activations, layers
from ...layers.base import DEEPEST
from .chain import Chain
from .forms import Known, known
from .numeric import Embedded, embedded
from .operators import ACTIVATIONS, LAYERS, add_known
from .values import Program, Value

__all__ = ["layered"]

Array = _validate.Array

#: Those that a function may end in that is made of several; and those that hand on what they take.
_ENDS = frozenset({"Add", "Sub", "Mul", "Div", "Clip", "Where", "Log", "Max", "Min", "Sin", "Sum"})
_NOTHING = frozenset({"Identity", "Reshape", "Flatten"})


class _Layering:
    """What turns values into layers, each of them once."""

    def __init__(self, program: Program, room: int) -> None:
        self.program, self._seen, self._room = program, set[Value](), room

    def chain(self, start: Value, end: Value, depth: int = 0) -> Chain:
        """The layers between two values, where each way to the second goes through the first."""
        if depth > DEEPEST:
            raise end.error(f"at most {DEEPEST} levels of branches", "more")
        steps: list[tuple[Value, Known | Embedded | None]] = []
        value = end
        while value is not start:
            self._take(value)
            found, before = self._begins(value)
            if found is not None and before.place < start.place:
                found, before = None, value.source or start
            if before.place < start.place:
                raise end.error("branches that part in one value and meet again", "others")
            steps.append((value, found))
            value = before
        made = Chain(self.program.double)
        for value, found in reversed(steps):
            if found is None:
                self._layer(made, value, depth)
            elif isinstance(found, Embedded):
                made.add(found.layer, value.name, **found.arrays)
            else:
                add_known(made, found, value.name)
        made.finish()
        return made

    def _take(self, value: Value) -> None:
        """Use a value, once, and so much memory as its layer may need."""
        if value in self._seen:
            raise value.error("a value of one branch", "one that two branches take")
        self._seen.add(value)
        self._room -= 4 * value.width
        if self._room < 0:
            raise value.error("a model whose layers are not much larger than its file", f"rows of {value.width}")

    def _begins(self, value: Value) -> tuple[Known | Embedded | None, Value]:
        """The function that ends in a value, and the value that it, or the operator, takes."""
        if _table_of(value) is not None:
            return None, self.program.input
        found = embedded(value) or (known(value) if value.operator in _ENDS else None)
        assert value.source is not None
        return found, value.source if found is None else found.start

    def _layer(self, made: Chain, value: Value, depth: int) -> None:
        operator = value.operator
        if operator == "Concat":
            self._concat(made, value, depth)
        elif operator in ("Add", "Sum") and len(value.inputs) == len(value.taken) == 2:
            if not self._between(made, value, depth):
                self._residual(made, value, depth)
        elif _table_of(value) is not None:
            self._embedding(made, value)
        elif operator in LAYERS and len(value.inputs) == 1:
            LAYERS[operator](made, value)
        elif operator in ("Softmax", "LogSoftmax"):
            if value.attributes.get("axis", 1 if self.program.opset < 13 else -1) not in (1, -1):
                raise value.error("a softmax over a row", f"axis {value.attributes['axis']}")
            made.activate(getattr(activations, ACTIVATIONS[operator]), value.name)
        elif operator in ACTIVATIONS:
            made.activate(getattr(activations, ACTIVATIONS[operator]), value.name)
        elif operator not in _NOTHING or len(value.inputs) != 1:
            names = _validate.shown([one.name for one in value.inputs])
            raise value.error("operators that together are a layer", f"{operator} of {names}")

    def _residual(self, made: Chain, value: Value, depth: int) -> None:
        source = value.source
        assert source is not None
        others = [one for one in value.inputs if one is not source]
        if len(others) > 1 or value.width != source.width:
            raise value.error("a sum with the value that the other side is computed from", "one of two branches")
        inner = self.chain(source, others[0], depth + 1) if others else Chain(self.program.double)
        made.add(layers.Residual(inner.layers), value.name, **inner.nested())

    def _between(self, made: Chain, value: Value, depth: int) -> bool:
        """What lies between a value and an activation of it; False where it is something else."""
        own = [one for one in value.inputs if one.operator == "Mul" and one.inputs == [value.source]]
        others = [one for one in value.inputs if one.operator == "Mul" and one not in own and len(one.inputs) == 1]
        if len(own) != 1 or len(others) != 1:
            return False
        rest, weight = (one.numbers(0 if isinstance(one.taken[0], np.ndarray) else 1) for one in (*own, *others))
        if rest is None or weight is None or not np.allclose(rest + weight, 1, rtol=0, atol=1e-6):
            return False
        source = value.source
        assert source is not None
        inner = self.chain(source, others[0].inputs[0], depth + 1)
        if len(inner.layers) != 1 or not isinstance(inner.layers[0], layers.Activation):
            raise value.error("a share of a value, and one of an activation of it", f"{_validate.shown(inner.layers)}")
        made.add(layers.ParametricActivation(inner.layers[0].activation), value.name, weight=weight)
        return True

    def _concat(self, made: Chain, value: Value, depth: int) -> None:
        source = value.source
        assert source is not None
        if source is self.program.input and self._columns(made, value):
            return
        first, last = value.inputs[0], value.inputs[-1]
        if len(value.inputs) == 2 and last is source and _is_rest(first, source) and made.name_both_classes(value.name):
            return
        if (parts := _rising(value)) is not None:
            self._ordered(made, value, parts, depth)
            return
        chains = [
            Chain(self.program.double) if one is source else self.chain(source, one, depth + 1) for one in value.inputs
        ]
        arrays = {f"{b}.{name}": array for b, inner in enumerate(chains) for name, array in inner.nested().items()}
        made.add(layers.Concatenate([inner.layers for inner in chains]), value.name, **arrays)

    def _ordered(self, made: Chain, value: Value, parts: list[Value], depth: int) -> None:
        """Sums that rise: of one output, then of a softplus of one more each."""
        source = value.source
        assert source is not None
        chains = [self.chain(source, part, depth + 1) for part in parts]
        arrays: dict[str, Array] = {}
        for k, inner in enumerate(chains):
            end = activations.softplus if k else activations.identity
            if len(inner.layers) != 1 or inner.layers[0] != layers.Dense(source.width, 1, end):
                raise parts[k].error("a dense layer, and a softplus", f"{_validate.shown(inner.layers)}")
            arrays |= {f"{k}.{name.partition('.')[2]}": array for name, array in inner.nested().items()}
        made.add(layers.Ordered(source.width, len(parts)), value.name, **arrays)

    def _columns(self, made: Chain, value: Value) -> bool:
        """The columns of the input, some of them looked up in a table; False where it is something else."""
        tables: dict[int, Array] = {}
        columns: list[int] = []
        for part in value.inputs:
            found = _table_of(part)
            own = _columns_of(found[1] if found else part, self.program.input)
            if own is None or (found is None and part.columns is None):
                return False
            columns += own
            tables |= dict.fromkeys(own, found[0]) if found else {}
        if columns != [*range(self.program.input.width)]:
            raise value.error("all columns of the input in their order", f"columns {_validate.shown(columns)}")
        embeddings = {column: layers.Embedding(*table.shape) for column, table in tables.items()}
        arrays = {f"{column}.weight": table for column, table in tables.items()}
        made.add(layers.Columns(len(columns), embeddings), value.name, **arrays)
        return True

    def _embedding(self, made: Chain, value: Value) -> None:
        """A row of a table for each number of the input, side by side."""
        found = _table_of(value)
        assert found is not None
        count = self.program.input.width
        if _columns_of(found[1], self.program.input) != [*range(count)]:
            raise value.error("all features to be looked up in the table", "some of them")
        made.add(layers.Embedding(*found[0].shape, columns=count), value.name, weight=found[0])


def layered(program: Program, room: int) -> Chain:
    """The layers from the input of a model to its output, which take no more than so many numbers beside its own."""
    return _Layering(program, room).chain(program.input, program.output)


def _rising(value: Value) -> list[Value] | None:
    """What is added to the sum before it for each value side by side; None where it is not so."""
    first, *sums = value.inputs
    parts = [first]
    for before, after in zip([first, *sums], sums, strict=False):
        added = [one for one in after.inputs if one is not before]
        if after.operator != "Add" or len(after.taken) != 2 or len(added) != 1 or after.width != 1:
            return None
        parts += added
    return parts if sums and first.operator == "Gemm" else None


def _is_rest(value: Value, source: Value) -> bool:
    """Whether it is 1 - source."""
    one = value.taken[0]
    is_one = isinstance(one, np.ndarray) and bool(np.all(one == 1))
    return is_one and value.operator == "Sub" and value.taken[1] is source


def _table_of(value: Value) -> tuple[Array, Value] | None:
    """The table that numbers are looked up in, flattened where they are several, and these numbers."""
    gather = value.inputs[0] if value.operator in ("Reshape", "Flatten") and value.inputs else value
    is_table = gather.operator == "Gather" and gather.columns is None and len(value.shape) == 1
    return (gather.taken[0], gather.taken[1]) if is_table else None


def _columns_of(value: Value, given: Value) -> list[int] | None:
    """Which columns of the input these are."""
    while value.operator in ("Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"):
        value = value.inputs[0]
    if value is given:
        return [*range(given.width)]
    return value.columns if value.columns is not None and value.inputs[0] is given else None
