"""Templates: plain data in, HTML out; whatever comes from the database is escaped."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report.numbers import number, p_value, percent
from pipeline.report.page import Page, UnitPage
from pipeline.report.unit_figures import DYNAMIC_RANGE
from pipeline.truth import MARGIN, TRAINING_QUANTILE, WELL_PREDICTED


def render(page: Page) -> str:
    """Render the report."""
    return _render("index.html.j2", page=page)


def render_unit(unit: UnitPage) -> str:
    """Render the page of one unit."""
    return _render("unit.html.j2", unit=unit, dynamic_range=DYNAMIC_RANGE)


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("pipeline.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"number": number, "percent": percent, "p_value": p_value}
    return environment.get_template(template).render(
        values,
        well_predicted=WELL_PREDICTED,
        quantile=100 * TRAINING_QUANTILE,
        margin=MARGIN,
    )
