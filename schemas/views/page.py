"""The page that explains the views: ``python -m schemas.views.page > docs/views.md``."""

import sys

from schemas.views import TOPICS, VIEWS, View

INTRODUCTION = """# Views for SQL

What most people ask for, without the names of tables. `inceptionloop init` makes the views in the
schema `inceptionloop_views` (with the prefix of the project), and `inceptionloop sql` knows them by
name; questions and their answers are in [SQL](sql.md). Columns have the names of the attributes of
the tables, so that views and tables can be joined; arrays and images stay in the tables. Views of
your own belong in a schema of your own: `init` drops what is not on this page.

This page is made by `python -m schemas.views.page > docs/views.md`.
"""


def page() -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION]
    for topic, names in TOPICS.items():
        parts += [f"## {topic}\n", *(_explained(VIEWS[name]) for name in names)]
    return "\n".join(parts)


def _explained(view: View) -> str:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in view.columns.items()]
    return "\n".join([f"### `{view.name}`\n", f"{view.meaning}\n", "| | |", "|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(page())
