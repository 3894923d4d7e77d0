"""Long formulas in several lines: broken where a reader would break them.  Floor 0."""

import re

SHORT, LONG, WIDE = 6, 20, 33
"""Letters: a left side that keeps its line, a chain and an equation that are broken."""

_TOKEN = re.compile(
    r"\\begin\{\w+\}|\\end\{\w+\}|\\q?quad\b|\\[A-Za-z]+|\\.|[{}()\[\]]| = | \+ |.", re.DOTALL
)


def in_lines(latex: str) -> str:
    r"""Break a formula at its wide spaces, and a chain of equals signs before each but the first.

    What stands inside braces, brackets or an environment stays whole.

    >>> in_lines(r"a = b")
    'a = b'
    >>> in_lines(r"a = b,\quad c")
    '\\begin{gathered} a = b, \\\\ c \\end{gathered}'
    >>> in_lines(r"f(x) = x + x + x + x + x + x + x + x = 8 x")
    '\\begin{aligned} f(x) &= x + x + x + x + x + x + x + x \\\\ &= 8 x \\end{aligned}'
    """
    statements = [_chain(line) for statement in _split(latex, r"\quad") for line in _implied(statement)]
    return _environment("gathered", statements)


def _implied(statement: str) -> list[str]:
    """Put what follows from an equation, or is the same, on lines of its own, each after its sign."""
    for sign in (r"\iff", r"\Rightarrow", r"\to"):
        first, *others = _split(statement, sign)
        if others and all(" = " in part or r"\le" in part for part in (first, *others)):
            return [first, *(f"{sign} {other}" for other in others)]
    return [statement]


def _chain(statement: str) -> str:
    """Put the links of a long equation under each other, a single one only where it is wide; no list of statements."""
    first, *links = _split(statement, " = ")
    several = any("," in link.replace(r"\,", "") for link in links[:-1])
    if several or _width(statement) < (WIDE if len(links) == 1 else LONG) or not links:
        return statement
    if len(links) == 1 and _width(first) > SHORT:
        return _environment("aligned", [f"& {first}", *_sum(f"&= {links[0]}")])
    if len(links) == 1:
        lines = _sum(f"{first} &= {links[0]}")
        return statement if len(lines) == 1 else _environment("aligned", lines)
    return _environment("aligned", [f"{first} &= {links[0]}", *(f"&= {link}" for link in links[1:])])


def _sum(line: str) -> list[str]:
    """Break a line that is still wide before its last plus sign."""
    *terms, last = _split(line, " + ")
    return [" + ".join(terms), rf"&\quad + {last}"] if terms and _width(line) >= WIDE else [line]


def _width(latex: str) -> int:
    """Count the letters that are set: a command is one, and what only places them is none."""
    return len(re.sub(r"[{}_^&\s]", "", re.sub(r"\\[,;!: ]", "", re.sub(r"\\[A-Za-z]+", "x", latex))))


def _environment(name: str, lines: list[str]) -> str:
    """Set several lines; one line needs nothing."""
    return lines[0] if len(lines) == 1 else rf"\begin{{{name}}} " + r" \\ ".join(lines) + rf" \end{{{name}}}"


def _split(latex: str, mark: str) -> list[str]:
    """Split where the mark stands outside everything that is bracketed; a wide space comes in two widths."""
    parts, depth = [""], 0
    for token in _TOKEN.findall(latex):
        depth += token.startswith(("{", "(", "[", r"\{", r"\begin")) - token.startswith(
            ("}", ")", "]", r"\}", r"\end")
        )
        if depth == 0 and token.replace("qq", "q") == mark:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts if part.strip()]
