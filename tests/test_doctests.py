"""The examples in docstrings and in the documentation say what happens."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import pipeline
import schemas
import science

ROOT = Path(__file__).parents[1]
MODULES = [
    name
    for package in (science, schemas, pipeline)
    for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not name.endswith("__main__")  # a program, to run
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
AT_LEAST = 35
"""Functions and classes of `science` that show what they do."""


def examples(name):
    """Return the docstrings of a module that hold examples."""
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [docstring for docstring in found if docstring.examples]


def test_what_is_used_most_shows_what_it_does():
    shown = [e.name for name in MODULES if name.startswith("science.") for e in examples(name)]
    assert len(shown) >= AT_LEAST


def test_the_examples_of_all_docstrings_are_true():
    failed = []
    for name in MODULES:
        for example in examples(name):
            failed += _failures(example)
    assert failed == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_are_true(page):
    text = page.read_text(encoding="utf-8").replace("```", "")  # which would be expected output
    assert _failures(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)) == []


def _failures(example):
    said = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    return said


def test_an_example_that_is_wrong_fails():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", "wrong.md", 0)
    assert len(_failures(wrong)) == 1
