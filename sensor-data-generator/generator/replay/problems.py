"""What of a recording can't be mapped: how many rows, and where the first of them are. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

EXAMPLES = 3  # of a kind of problem
# What read_csv calls the lines that it refuses
REFUSED = {
    "MISSING COLUMNS": "fewer columns than the header",
    "TOO MANY COLUMNS": "more columns than the header",
    "UNQUOTED VALUE": "a quote that isn't closed, so what follows is not read",
    "INVALID ENCODING": "bytes that are not UTF-8",
    "LINE SIZE OVER MAXIMUM": "a line longer than 2 MB",
}

Refused = dict[str, list[tuple[int, str, str]]]  # by file: (line, error, content) of the lines that read_csv refused


@dataclass
class Problem:
    """A kind of problem, how many rows have it, and the first of them."""

    kind: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.count:,} row{'s' * (self.count != 1)} with {self.kind}: {'; '.join(self.examples)}"


def not_mapped(
    found: Iterable[tuple[str, int, list[tuple[str, str, str]]]],
    refused: Mapping[str, list[tuple[int, str, str]]],
    with_header: Collection[str],
) -> list[Problem]:
    """The problems that query.problems() has found: kind, count, and (file, row, value) of the first.

    A file's rows are counted from 1; its lines also have the header and what read_csv refused.
    """
    result = []
    for kind, count, examples in found:
        shown = []
        for path, row, text in examples:
            line = int(row) + (path in with_header)
            for before, *_ in refused.get(path, ()):
                line += before <= line
            shown.append(f"{path} line {line}" + (f" ({text!r})" if text else ""))
        result.append(Problem(kind, count, shown))
    return result


def not_read(refused: Mapping[str, list[tuple[int, str, str]]]) -> list[Problem]:
    """The lines that read_csv refused."""
    problems: dict[str, Problem] = {}
    for path, lines in sorted(refused.items()):
        for line, error, content in lines:
            problem = problems.setdefault(error, Problem(REFUSED.get(error, error.lower())))
            problem.count += 1
            if len(problem.examples) < EXAMPLES:
                problem.examples.append(f"{path} line {line} ({content!r})")
    return list(problems.values())
