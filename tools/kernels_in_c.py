"""Translate the kernels that exported C files need from Cython to C, into src/backprop/c/kernels.inc.

    python tools/kernels_in_c.py            writes it
    python tools/kernels_in_c.py --check    says whether it is as it would be written

So there is one source of each polynomial, and of the order of each sum. What it understands is what those functions are
written in: declarations, arithmetic, choices, loops over a range, and the fused type `real`, for which each function
is written twice, `_f` and `_d`. The functions of bits are taken from simd.h as they are.
"""

import ast
import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src" / "backprop" / "kernels"
TARGET = ROOT / "src" / "backprop" / "c" / "kernels.inc"
SOURCES = ("elementary", "reductions", "activations", "layers")
#: What exported files call; what these call comes along.
WANTED = re.compile(r"\w+(?<!activation)_forward$|^(moments|fraction_of|cosine_of_turns)$")
HEAD = "/* Written by tools/kernels_in_c.py from the compiled core's kernels: change those. */\n"

TYPES = {"Py_ssize_t": "int32_t", "bint": "int", "Moments": "Moments"}
#: What C's own functions give.
MATH = {"fabsf": "float", "copysignf": "float", "sqrtf": "float", "fabs": "double", "copysign": "double",
        "sqrt": "double", "log": "double", "sin": "double", "cos": "double"}  # fmt: skip
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "/", ast.Mod: "%",
             ast.RShift: ">>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
             ast.And: "&&", ast.Or: "||", ast.BitAnd: "&"}  # fmt: skip
HEADER = re.compile(r"^cdef (?:inline |outlined )?"
    r"(?:(real|void|double|float|bint|Moments|Py_ssize_t) )?(\w+)\(([^:]*?)\) noexcept nogil:\n"
                    r"((?: +.*\n|\n)+)", re.MULTILINE)  # fmt: skip
DECLARATION = re.compile(r"cdef ((?:const )?\w+) (.+)", re.DOTALL)


def top_level(text):
    """A list in parentheses or without, split at its own commas."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


class Function:
    """One function of the source."""

    def __init__(self, result, name, arguments, body):
        self.result, self.name, self.body = result or "void", name, body
        self.arguments = [re.fullmatch(r"(const )?(\w+) (\*?)(\w+)", one).groups() for one in top_level(arguments)]
        #: Which argument tells the type, where there are two.
        self.telling = next((i for i, argument in enumerate(self.arguments) if argument[1] == "real"), None)

    def types(self, real):
        return {name: (real if kind == "real" else TYPES.get(kind, kind)) + star
                for _, kind, star, name in self.arguments}  # fmt: skip


def functions():
    """All functions of one number, of one array or of one row, by name."""
    found = {}
    for source in SOURCES:
        text = (KERNELS / f"{source}.pxi").read_text(encoding="utf-8")
        for result, name, arguments, body in HEADER.findall(text):
            if not re.search(r"const (Rows|Op|Pass|Column|Graph) |Watch|Activation ", arguments):
                found[name] = Function(result, name, arguments.replace("\n", " "), body)
    return found


def constants():
    """The numbers that stand outside of functions."""
    text = (KERNELS / "activations.pxi").read_text(encoding="utf-8")
    return dict(re.findall(r"^cdef double (\w+) = ([\d.]+)$", text, re.MULTILINE))


class InC(ast.NodeVisitor):
    """A function as C, for one type."""

    def __init__(self, function, real, known):
        self.function, self.real, self.known = function, real, known
        self.types = function.types(real)
        self.calls = []

    def whole(self):
        """Its text."""
        tree = ast.parse(self.python())
        arguments = ", ".join(
            f"{const or ''}{self.types[name].rstrip('*')} {star}{name}"
            for const, _, star, name in self.function.arguments
        )
        result = self.real if self.function.result == "real" else TYPES.get(self.function.result, self.function.result)
        name = self.name_of(self.function, self.real)
        return f"static {result} {name}({arguments})\n{{\n{self.block(tree.body, 1)}}}\n"

    def python(self):
        """The body as Python can parse it: declarations and casts as calls and powers."""
        body = re.sub(r"#.*", "", self.function.body)
        body = re.sub(r'"""(?:.|\n)*?"""', "", body)
        body = re.sub(r"<(\w+)> ", r"_cast_\1 ** ", body)
        body = re.sub(r"(?<=[(,\s])&(\w+)", r"_address ** \1", body)
        lines, depth = [], 0
        for line in body.splitlines():
            if depth:
                lines[-1] += " " + line.strip()
            else:
                lines.append(line)
            depth = lines[-1].count("(") - lines[-1].count(")")
        return "if 1:\n" + "\n".join(self.declared(line) for line in lines if line.strip())

    @staticmethod
    def declared(line):
        found = DECLARATION.fullmatch(line.strip())
        if not found:
            return line
        kind, names = found[1], top_level(found[2])
        return (
            f"{line[: len(line) - len(line.lstrip())]}_declare({kind.split()[-1]!r}, {kind.startswith('const')}, "
            + (", ".join(repr(name) for name in names) + ")")
        )

    # Statements.

    def block(self, body, depth):
        return "".join(self.statement(node, depth) for node in body)

    def statement(self, node, depth):
        pad = "    " * depth
        if isinstance(node, ast.If) and isinstance(node.test, ast.Constant):
            return self.block(node.body, depth)
        if isinstance(node, ast.If):
            branch = self.chosen(node.test)
            if branch is not None:
                return self.block(node.body if branch else node.orelse, depth)
            text = f"{pad}if ({self.text(node.test)}) {{\n{self.block(node.body, depth + 1)}{pad}}}"
            return text + (f" else {{\n{self.block(node.orelse, depth + 1)}{pad}}}\n" if node.orelse else "\n")
        if isinstance(node, ast.For):
            start, stop, step = self.range_of(node.iter)
            i = node.target.id
            ahead = f"{i}++" if step == "1" else f"{i} += {step}"
            return f"{pad}for ({i} = {start}; {i} < {stop}; {ahead}) {{\n{self.block(node.body, depth + 1)}{pad}}}\n"
        if isinstance(node, ast.Return):
            return f"{pad}return {self.text(node.value)};\n"
        if isinstance(node, ast.AugAssign):
            return f"{pad}{self.text(node.target)} {OPERATORS[type(node.op)]}= {self.text(node.value)};\n"
        if isinstance(node, ast.Assign):
            return "".join(self.assigned(target, node.value, pad) for target in node.targets)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.func.id == "_declare":
            return self.declaration(*node.value.args, pad)
        raise NotImplementedError(ast.unparse(node))

    def assigned(self, target, value, pad):
        if isinstance(target, ast.Tuple):
            return "".join(self.assigned(*pair, pad) for pair in zip(target.elts, value.elts, strict=True))
        return f"{pad}{self.text(target)} = {self.text(value, self.type(target))};\n"

    def declaration(self, kind, const, *rest):
        *names, pad = rest
        kind = self.real if kind.value == "real" else TYPES.get(kind.value, kind.value)
        text = ""
        for name in names:
            left, _, right = name.value.partition(" = ")
            star, array = "*" * left.count("*"), re.search(r"\[\d+\]", left)
            bare = re.search(r"\w+", left)[0]
            self.types[bare] = kind + ("*" if star or array else "")
            start = f" = {self.text(ast.parse(right, mode='eval').body, self.types[bare])}" if right else ""
            text += f"{pad}{'const ' * const.value}{kind} {star}{bare}{array[0] if array else ''}{start};\n"
        return text

    def range_of(self, call):
        given = [self.text(argument) for argument in call.args]
        return {1: ["0", *given, "1"], 2: [*given, "1"], 3: given}[len(given)]

    # Expressions.

    def chosen(self, test):
        """Whether a question for the type is answered with yes; None for any other."""
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is):
            return self.real == test.comparators[0].id
        return None

    def type(self, node):
        if isinstance(node, ast.Name):
            return "double" if node.id in CONSTANTS or node.id == "MAGIC_D" else self.types.get(node.id, self.real)
        if isinstance(node, ast.Constant):
            return "int" if isinstance(node.value, int) else "double"
        if isinstance(node, ast.Subscript):
            return self.type(node.value).removesuffix("*")
        if isinstance(node, ast.Attribute):
            return "double"
        if isinstance(node, ast.UnaryOp):
            return self.type(node.operand)
        if isinstance(node, ast.IfExp):
            branch = self.chosen(node.test)
            if branch is not None:
                return self.type(node.body if branch else node.orelse)
            return self.wider(self.type(node.body), self.type(node.orelse))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            kind = node.left.id.removeprefix("_cast_")
            return self.type(node.right) + "*" if kind == "_address" else self.real if kind == "real" else kind
        if isinstance(node, ast.BinOp):
            return self.wider(self.type(node.left), self.type(node.right))
        if isinstance(node, ast.Call):
            return self.result_of(node)
        return "int"

    @staticmethod
    def wider(*kinds):
        return next((k for k in ("double", "float", "int32_t") if k in kinds), kinds[0]) if not any(
            "*" in kind for kind in kinds) else next(kind for kind in kinds if "*" in kind)  # fmt: skip

    def result_of(self, call):
        name = call.func.id
        if name in ("min", "max"):
            return self.wider(*map(self.type, call.args))
        if name in MATH:
            return MATH[name]
        if name in self.known:
            result = self.known[name].result
            return self.real_of(call) if result == "real" else TYPES.get(result, result)
        return {"exponent_f": "int32_t", "exponent_d": "int64_t"}.get(
            name, "float" if name.endswith("_f") else "double"
        )

    def real_of(self, call):
        """For which of the two types a function is called."""
        telling = self.known[call.func.id].telling
        kind = self.type(call.args[telling]).removesuffix("*")
        return kind if kind in ("float", "double") else self.real

    def name_of(self, function, real):
        return function.name if function.telling is None else f"{function.name}_{real[0]}"

    def text(self, node, wanted=None):
        """An expression; a plain number as one of the type that is wanted."""
        method = getattr(self, f"text_{type(node).__name__}")
        return method(node, wanted)

    def text_Name(self, node, wanted):
        if node.id in CONSTANTS:
            return self.number(float(CONSTANTS[node.id]), wanted)
        return node.id

    def text_Constant(self, node, wanted):
        return str(node.value) if isinstance(node.value, int) else self.number(node.value, wanted)

    @staticmethod
    def number(value, wanted):
        return f"{np.float32(value)!s}f" if wanted == "float" else repr(value)

    def text_UnaryOp(self, node, wanted):
        sign = {ast.USub: "-", ast.Not: "!"}[type(node.op)]
        operand = self.text(node.operand, wanted)
        return (
            f"{sign}{operand}" if isinstance(node.operand, (ast.Name, ast.Constant, ast.Call)) else f"{sign}({operand})"
        )

    def text_BinOp(self, node, wanted):
        if isinstance(node.op, ast.Pow):
            return self.text_cast(node)
        kind = self.type(node)
        left, right = (self.operand(side, kind) for side in (node.left, node.right))
        return f"{left} {OPERATORS[type(node.op)]} {right}"

    def operand(self, node, kind):
        text = self.text(node)
        simple = isinstance(node, (ast.Name, ast.Constant, ast.Call, ast.Subscript, ast.Attribute))
        text = text if simple or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)) else f"({text})"
        whole = self.type(node) in ("int32_t", "int64_t") and kind == "float"
        return f"(float){text}" if whole else text

    def text_cast(self, node):
        kind = node.left.id.removeprefix("_cast_")
        if kind == "_address":
            return f"&{self.text(node.right)}"
        kind = self.real if kind == "real" else TYPES.get(kind, kind)
        value = node.right
        negative = isinstance(value, ast.UnaryOp) and isinstance(value.operand, ast.Constant)
        if negative or isinstance(value, ast.Constant):
            return self.text(value, kind)
        text = self.text(value)
        if self.type(value) == kind:
            return text if isinstance(value, (ast.Name, ast.Subscript)) else f"({text})"
        return f"({kind}){text}" if isinstance(value, (ast.Name, ast.Subscript, ast.Call)) else f"({kind})({text})"

    def text_IfExp(self, node, wanted):
        branch = self.chosen(node.test)
        if branch is not None:
            return self.text(node.body if branch else node.orelse, wanted)
        parts = [self.text(node.test), self.text(node.body, wanted), self.text(node.orelse, wanted)]
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"

    def text_Compare(self, node, wanted):
        return f"{self.text(node.left)} {OPERATORS[type(node.ops[0])]} {self.text(node.comparators[0])}"

    def text_BoolOp(self, node, wanted):
        return f" {OPERATORS[type(node.op)]} ".join(f"({self.text(value)})" for value in node.values)

    def text_Subscript(self, node, wanted):
        return f"{self.text(node.value)}[{self.text(node.slice)}]"

    def text_Attribute(self, node, wanted):
        return f"{self.text(node.value)}.{node.attr}"

    def text_Call(self, node, wanted):
        name, given = node.func.id, [self.text(argument) for argument in node.args]
        if name in ("min", "max"):
            sign = "<" if name == "min" else ">"
            return f"({given[0]} {sign} {given[1]} ? {given[0]} : {given[1]})"
        if name in self.known:
            name = self.name_of(self.known[name], self.real_of(node) if self.known[name].telling is not None else "")
            self.calls.append(name)
        return f"{name}({', '.join(given)})"


CONSTANTS = constants()


def of_bits():
    """The functions of simd.h, without the compiler's own words; those of a fused multiply-add as they are without."""
    text = (KERNELS / "simd.h").read_text(encoding="utf-8")
    found = re.findall(r"^static ALWAYS_INLINE \w+ (?:by_sign|choose|exponent|power_of_two)_[fd]\(.*?^}\n", text,
                       re.MULTILINE | re.DOTALL)  # fmt: skip
    for macro in "PRODUCT_ERROR", "REMAINDER":
        names, written = re.search(rf"#  define {macro}\((.*?)\)(.*?}})\s*\n{macro}", text, re.DOTALL).groups()
        for given in re.findall(rf"^{macro}\((\w.*?)\)$", text, re.MULTILINE):
            body = re.sub(r" *\\\n {0,4}", "\n", written).strip() + "\n"
            for name, value in zip(names.split(", "), given.split(", "), strict=True):
                body = re.sub(rf"\b{name}\b", value, body)
            found.append(body.strip() + "\n")
    magic = re.findall(r"^#define (?:MAGIC_[FD]) .*\n", text, re.MULTILINE)
    return magic, [one.replace("static ALWAYS_INLINE", "static") for one in found]


def written():
    """The whole file."""
    known = functions()
    magic, bits = of_bits()
    there = set(re.findall(r"^static \w+ (\w+)", "".join(bits), re.MULTILINE))
    texts, todo = {}, [(name, real) for name in known if WANTED.search(name) for real in ("float", "double")]
    while todo:
        name, real = todo.pop()
        made = InC(known[name], real, known)
        called = made.name_of(known[name], real)
        if called in texts:
            continue
        texts[called] = made.whole(), made.calls
        todo += [(call.removesuffix("_f").removesuffix("_d"), "float" if call.endswith("_f") else "double")
                 if call not in known else (call, real) for call in made.calls]  # fmt: skip
    done = []

    def add(name):
        for call in texts[name][1]:
            add(call)
        if name not in done and name not in there:
            done.append(name)

    for name in sorted(texts):
        add(name)
    moments = "typedef struct {\n    double mean, rstd;\n} Moments;\n"
    return HEAD + "".join(magic) + "\n" + "\n".join([*bits, moments, *(texts[name][0] for name in done)])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text(encoding="utf-8") != written() and f"{TARGET}: run {sys.argv[0]}")
    TARGET.write_text(written(), encoding="utf-8")
