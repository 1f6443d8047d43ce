"""Foraging animals and path integrators: everything that the report says of them."""

from pipeline.report.album import Album
from pipeline.report.fits import rate_map_fits
from pipeline.report.mapped_cells import mapped_cells
from pipeline.report.navigation_page import NavigationView
from pipeline.report.network_maps import network_maps
from pipeline.report.path_integrators import integrators
from schemas.dataset import TrainingSet
from schemas.open_field import OpenField


def navigation(album: Album) -> NavigationView | None:
    """Describe path integrators, recorded cells and fits; None where nobody navigates."""
    if not (OpenField() or TrainingSet & "training_family = 'navigation'"):
        return None
    return NavigationView(
        integrators(album), network_maps(album), mapped_cells(album), rate_map_fits(album)
    )
