"""The performance figures on the pages are those in benchmarks/results."""

import tables


def test_the_pages_show_all_results_that_are_in_the_repository() -> None:
    results = tables.load()
    shown = set()
    for path in tables.PAGES:
        page = path.read_text()
        shown |= {name for _, name, _ in tables.MARKED.findall(page)}
        assert tables.filled(page, results) == page, f"{path.name}: run benchmarks/tables.py"
    assert shown <= tables.SECTIONS.keys()
    assert results.keys() & tables.SECTIONS.keys() <= shown


def test_a_section_without_results_is_empty() -> None:
    page = "a\n<!-- bench scaling -->\nold\n<!-- /bench -->\n<!-- bench sizing -->\n<!-- /bench -->\nb\n"
    assert tables.filled(page, {}) == page.replace("old\n", "")
