"""MEIs with the responses to them, as NWB: one file per recording.

Of a recording that models come from: its units with area, depth and scores, their MEIs and masks,
and what the cells answered to their own images on later days. Of a recording in which a stimulus
set was shown: its units, which cells of the models they are, the images, when they were shown, and
the answers to them. The recorded traces and spikes themselves stay in the file they came from.
"""

from pipeline.errors import UserError

try:
    import pynwb  # noqa: F401
except ImportError as error:
    raise UserError("NWB files are written by pynwb: pip install 'inceptionloop[nwb]'") from error

from pipeline.export.nwb.file import export_nwb
from pipeline.export.nwb.session import Microscope, SessionFacts

__all__ = ["Microscope", "SessionFacts", "export_nwb"]
