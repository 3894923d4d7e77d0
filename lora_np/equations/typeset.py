"""Long formulas in several lines: broken where a reader would break them.  Floor 0."""

import re

_TOKEN = re.compile(r"\\begin\{\w+\}|\\end\{\w+\}|\\q?quad\b|\\[A-Za-z]+|\\.|[{}()\[\]]| = |.", re.DOTALL)


def in_lines(latex: str) -> str:
    r"""Break a formula at its wide spaces, and a chain of equals signs before each but the first.

    What stands inside braces, brackets or an environment stays whole.

    >>> in_lines(r"a = b")
    'a = b'
    >>> in_lines(r"a = b,\quad c")
    '\\begin{gathered} a = b, \\\\ c \\end{gathered}'
    >>> in_lines(r"a = b = c")
    '\\begin{aligned} a &= b \\\\ &= c \\end{aligned}'
    """
    statements = [_chain(line) for statement in _split(latex, r"\quad") for line in _equivalent(statement)]
    return _environment("gathered", statements)


def _equivalent(statement: str) -> list[str]:
    """Put what is equivalent on lines of its own, each after its sign."""
    first, *others = _split(statement, r"\iff")
    return [first, *(rf"\iff {other}" for other in others)]


def _chain(statement: str) -> str:
    """Put the links of a chain of equalities under each other."""
    first, *links = _split(statement, " = ")
    if len(links) < 2:
        return statement
    return _environment("aligned", [f"{first} &= {links[0]}", *(f"&= {link}" for link in links[1:])])


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
