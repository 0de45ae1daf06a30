"""Polynomials that a user writes, expanded exactly.

Sums, products and powers are taken in SymPy's ring of sparse polynomials over the rational numbers; numbers that are not
rational, like sqrt(2), are further variables of that ring until the end.
"""

import ast
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from mfpde.errors import InputError, quoted
from mfpde.expressions.building import build, hermite_coefficients, rational_number
from mfpde.expressions.reading import HERMITE, MOST_BITS, TooCostly, limited, read

# Names and numbers of a text: all 1,771 terms of degree 20 in three variables have room.
MOST_TERMS = 20_000
# Terms of an expanded polynomial, and products of terms in one multiplication.
MOST_MONOMIALS, MOST_PRODUCTS = 20_000, 1_000_000

Powers = tuple[int, ...]
Parts = dict[Any, dict[Powers, Fraction]]


class _NotPolynomial(Exception):
    pass


def parse_polynomial(text: str, variables: Sequence[str], key: str, largest_degree: int) -> Parts:
    """A polynomial in the variables as a sum of terms c P_c, {c: P_c}.

    Each c is 1 or an irrational SymPy number, and each P_c has rational coefficients.

    Args:
        text: Sums, products and powers, He3(z1) = z1^3 - 3 z1 and he3(z1) = He3(z1) / sqrt(3!), with real numbers.
        variables: The names; a monomial is the tuple of their exponents.
        key: Where, for messages.
        largest_degree: The largest that a subexpression may have.

    Raises:
        InputError: If it is not a polynomial, or its degree or cost is beyond the limits.
    """
    tree = read(text, variables, key, MOST_TERMS)
    try:
        with limited(key, text):
            nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]  # parents before children
            numbers = {id(node): build(node, text, [], key) for node in _constants(nodes, variables)}
            for node in nodes:  # divisions are multiplications
                if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and id(node.right) in numbers:
                    numbers[id(node.right)] = _inverse(numbers[id(node.right)])
            return _Expansion(nodes, numbers, variables, largest_degree).coefficients()
    except TooCostly as error:
        raise InputError(f"{key}: {quoted(text)} {error}") from None
    except _NotPolynomial:
        raise InputError(
            f"{key}: {quoted(text)} is not a polynomial; allowed: polynomials in {', '.join(variables)}, also as He3(z1)"
        ) from None


def _constants(nodes: list[ast.expr], variables: Sequence[str]) -> list[ast.expr]:
    """The largest subtrees without a variable."""
    constant: set[int] = set()
    inner: set[int] = set()
    for node in reversed(nodes):
        children = [id(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        free = isinstance(node, ast.Compare) or (isinstance(node, ast.Name) and node.id in variables)
        if not free and all(child in constant for child in children):
            constant.add(id(node))
            inner.update(children)
        elif isinstance(node, ast.Call):
            inner.add(id(node.func))
    return [node for node in nodes if id(node) in constant and id(node) not in inner]


class _Expansion:
    """The evaluation of one syntax tree in the ring.

    Args:
        nodes: All of the tree, parents before children.
        numbers: SymPy numbers of its largest constant subtrees, by the id of their nodes.
        variables, largest_degree: As in `parse_polynomial`.
    """

    def __init__(self, nodes: list[ast.expr], numbers: dict[int, Any], variables: Sequence[str], largest_degree: int) -> None:
        import sympy
        from sympy.polys.domains import QQ
        from sympy.polys.rings import ring

        self.nodes, self.numbers, self.variables, self.largest_degree = nodes, numbers, variables, largest_degree
        self.norms = {degree: 1 / sympy.sqrt(sympy.factorial(degree)) for degree in self._normalised()}
        values = [*numbers.values(), *self.norms.values()]
        self.irrational = list(dict.fromkeys(value for value in values if not value.is_Rational))
        self.ring, *generators = ring([*variables, *(f"c{i}" for i in range(len(self.irrational)))], QQ)
        self.generator = dict(zip([*variables, *self.irrational], generators, strict=True))

    def _normalised(self) -> set[int]:
        """The degrees n of all he_n of something with a variable."""
        called = [node.func.id for node in self.nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        return {self._bounded(int(match[2])) for match in map(HERMITE.fullmatch, called) if match and match[1] == "he"}

    def coefficients(self) -> Parts:
        """The coefficients of the whole tree."""
        import sympy

        value: dict[int, Any] = {}
        for node in reversed(self.nodes):
            children = [value.pop(id(child), None) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
            if id(node) in self.numbers:
                value[id(node)] = self._number(self.numbers[id(node)])
            elif isinstance(node, ast.Name) and node.id in self.variables:
                value[id(node)] = self.generator[node.id]
            elif children and children[-1] is not None:
                value[id(node)] = self._combined(node, children)
        p = len(self.variables)
        parts: dict[Any, dict[Powers, Fraction]] = {}
        for powers, c in value[id(self.nodes[0])].terms():
            factors = [number**n for number, n in zip(self.irrational, powers[p:], strict=True) if n]
            rational, rest = sympy.Mul(*factors).as_coeff_Mul()
            part = parts.setdefault(rest, {})
            term = Fraction(int(c.numerator), int(c.denominator)) * rational_number(rational)
            part[powers[:p]] = part.get(powers[:p], Fraction(0)) + term
        return parts

    def _number(self, number: Any) -> Any:
        if number.is_Rational:
            return self.ring(self.ring.domain(int(number.p), int(number.q)))
        return self.generator[number]

    def _combined(self, node: ast.expr, children: list[Any]) -> Any:
        """The value of a node that depends on a variable, from its children's."""
        if isinstance(node, ast.UnaryOp):
            return -children[0] if isinstance(node.op, ast.USub) else children[0]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and HERMITE.fullmatch(node.func.id):
            return self._hermite(node.func.id, children[1])
        if not isinstance(node, ast.BinOp):
            raise _NotPolynomial
        left, right = children
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        number = self.numbers.get(id(node.right))
        if isinstance(node.op, ast.Mult) or (isinstance(node.op, ast.Div) and number is not None):
            return self._product(left, right)
        if isinstance(node.op, ast.Pow) and number is not None and number.is_Integer and number >= 0:
            return self._power(left, int(number))
        raise _NotPolynomial

    def _product(self, left: Any, right: Any) -> Any:
        self._bounded(self._degree(left) + self._degree(right))
        if len(left) * len(right) > MOST_PRODUCTS:
            raise TooCostly(f"expands to too many terms; allowed: about {MOST_MONOMIALS}")
        result = left * right
        bits = max((max(int(c.numerator).bit_length(), int(c.denominator).bit_length()) for c in result.values()), default=0)
        if len(result) > MOST_MONOMIALS or bits > MOST_BITS:
            raise TooCostly(f"expands to too much; allowed: {MOST_MONOMIALS} terms, numbers of {MOST_BITS} bits")
        return result

    def _power(self, base: Any, n: int) -> Any:
        self._bounded(self._degree(base) * n)
        if base.is_generator:
            return base**n
        result = self.ring(1)
        for _ in range(n):
            result = self._product(result, base)
        return result

    def _hermite(self, name: str, x: Any) -> Any:
        degree = int(name[2:])
        self._bounded(self._degree(x) * degree)
        square, power, value = self._product(x, x) if degree > 1 else x, self._power(x, degree % 2), self.ring(0)
        for c in reversed(hermite_coefficients(degree)):
            value += c * power
            power = self._product(power, square) if c != 1 else power
        return value if name.startswith("He") else value * self._number(self.norms[degree])

    def _degree(self, value: Any) -> int:
        p = len(self.variables)
        return max((sum(powers[:p]) for powers in value), default=0)

    def _bounded(self, degree: int) -> int:
        if degree > self.largest_degree:
            raise TooCostly(f"has degree {degree}; allowed: degrees up to {self.largest_degree}")
        return degree


def _inverse(number: Any) -> Any:
    if number == 0:
        raise _NotPolynomial
    return 1 / number
