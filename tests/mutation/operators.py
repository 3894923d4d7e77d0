"""The small errors that a programmer of this field makes, as changes of one node of the syntax tree.

An operator takes a node and yields (name, replacement) pairs.  Domain operators come first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

Change = tuple[str, ast.AST]
SCALES = ("s", "scale", "scaling")
OPPOSITE = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
OTHER_FUNCTION = {
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "sin": "cos",
}
DROPPED_FUNCTIONS = ("abs", "sqrt", "square", "tanh", "exp")


def _is_scale(node: ast.AST) -> bool:
    """Tell whether a node is the scale: `s`, `scale`, `float(scale)`, `config.scale`."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "float"
        and node.args
    ):
        node = node.args[0]
    if isinstance(node, ast.Attribute):
        return node.attr in SCALES
    return isinstance(node, ast.Name) and node.id in SCALES


def drop_transpose(node: ast.AST) -> Iterator[Change]:
    """X.T becomes X."""
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT") and isinstance(node.ctx, ast.Load):
        yield "drop a transpose", node.value


def drop_scale(node: ast.AST) -> Iterator[Change]:
    """The product s M becomes M, and s becomes s (1 + 3e-8): the error of a scale kept in single precision."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        if _is_scale(node.left) and isinstance(node.op, ast.Mult):
            yield "drop the scale", node.right
        if _is_scale(node.right):
            yield "drop the scale", node.left
        for side, other in (("left", "right"), ("right", "left")):
            scale = getattr(node, side)
            if _is_scale(scale):
                rough = ast.BinOp(scale, ast.Mult(), ast.Constant(1 + 3e-8))
                yield "round the scale", ast.BinOp(**{side: rough, other: getattr(node, other)}, op=node.op)


def swap_factors(node: ast.AST) -> Iterator[Change]:
    """`B, A = p` becomes `A, B = p`."""
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and len(node.targets[0].elts) == 2
    ):
        first, second = node.targets[0].elts
        yield "swap the two", ast.Assign([ast.Tuple([second, first], ast.Store())], node.value)


def swap_product(node: ast.AST) -> Iterator[Change]:
    """M @ P becomes P @ M."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield "swap a product", ast.BinOp(node.right, node.op, node.left)


def other_function(node: ast.AST) -> Iterator[Change]:
    """A sum becomes a mean, a largest a smallest; a root or an absolute value is forgotten."""
    if not isinstance(node, ast.Call):
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in OTHER_FUNCTION and (
        isinstance(node.func, ast.Attribute) or name in ("max", "min", "any", "all")
    ):
        new = OTHER_FUNCTION[name]
        func = (
            ast.Attribute(node.func.value, new, ast.Load())
            if isinstance(node.func, ast.Attribute)
            else ast.Name(new, ast.Load())
        )
        yield f"{new} for {name}", ast.Call(func, node.args, node.keywords)
    if name in DROPPED_FUNCTIONS and len(node.args) == 1:
        yield f"drop {name}", node.args[0]


def opposite(node: ast.AST) -> Iterator[Change]:
    """+ for −, * for /, < for <=, == for !=, and for or."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPPOSITE:
        yield "opposite operator", ast.BinOp(node.left, OPPOSITE[type(node.op)](), node.right)
    if isinstance(node, ast.AugAssign) and type(node.op) in OPPOSITE:
        yield "opposite operator", ast.AugAssign(node.target, OPPOSITE[type(node.op)](), node.value)
    if isinstance(node, ast.BoolOp):
        yield "opposite operator", ast.BoolOp(OPPOSITE[type(node.op)](), node.values)
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in OPPOSITE:
                ops = [*node.ops[:i], OPPOSITE[type(op)](), *node.ops[i + 1 :]]
                yield "opposite operator", ast.Compare(node.left, ops, node.comparators)


def drop_unary(node: ast.AST) -> Iterator[Change]:
    """−x becomes x, `not x` becomes x, ~x becomes x."""
    if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield "drop a sign or a not", node.operand


def other_constant(node: ast.AST) -> Iterator[Change]:
    """True becomes False, n becomes n + 1, and a decimal number moves by 3e-8 of itself."""
    if not isinstance(node, ast.Constant):
        return
    if isinstance(node.value, bool):
        yield "other constant", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "other constant", ast.Constant(node.value + 1)
    elif isinstance(node.value, float):
        yield "other constant", ast.Constant(node.value * (1 + 3e-8) if node.value else 1e-8)


def other_branch(node: ast.AST) -> Iterator[Change]:
    """`a if c else b` becomes `b if c else a`."""
    if isinstance(node, ast.IfExp):
        yield "swap the branches", ast.IfExp(node.test, node.orelse, node.body)


def drop_statement(node: ast.AST) -> Iterator[Change]:
    """A call made for its effect, a check above all, is forgotten."""
    if isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Yield)):
        yield "drop a statement", ast.Pass()


OPERATORS = (
    drop_transpose,
    drop_scale,
    swap_factors,
    swap_product,
    other_function,
    opposite,
    drop_unary,
    other_constant,
    other_branch,
    drop_statement,
)
