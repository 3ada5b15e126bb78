"""The text of a table and of its figures."""

from typing import Any

Row = dict[str, Any]


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def short(value: float) -> str:
    """Two significant digits, or all digits of a larger number."""
    if value < 0.01:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    alignment = ["---"] + ["---:"] * (len(headings) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, alignment, *rows))


def in_turns(result: Row) -> str:
    return under(result, f"Medians of {result['rounds']} rounds in turns, ")


def under(result: Row, how: str = "") -> str:
    """The line under a table: date, machine and versions."""
    machine, versions = result["machine"], result["versions"]
    with_ = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"\n{how}{result['date']}; {machine['cores']} cores ({machine['cpu']}), {machine['memory GiB']} GiB; {with_}.\n"
    )
