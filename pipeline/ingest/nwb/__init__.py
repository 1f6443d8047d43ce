"""Two-photon recordings in NWB files, in the layout of the MICrONS set (DANDI 000402) and near it.

What is looked for, by the names that NWB gives its types; `<n>` is the number of a field:

Traces
    RoiResponseSeries `(n_frames, n_rois)`, one per imaged field, anywhere in the file; MICrONS:
    `processing/ophys/Fluorescence/RoiResponseSeries<n>`. Of several kinds the best is taken, by
    the names of series and container: deconvolved (deconvolved, event, spike, inferred), then dF/F
    (DfOverF, dff), then fluorescence; neuropil never. `series` names a series or its container
    instead.
Frame clock
    Its timestamps, or rate and starting_time. Fields may be a constant time apart: the delay of
    their units.
Units
    The rows of the series' PlaneSegmentation; MICrONS: `PlaneSegmentation<n>`. Where a column
    mask_type, cell_type or roi_type says 'soma' anywhere, or there is a column iscell or accepted,
    only those rows. A unit's number is the table's id, or where ids recur between fields, as in
    MICrONS, that of its row, counted from 1 through all rows of all fields.
Places
    In the field, px: centre of mass of image_mask `(n_rois, x, y)`, pixel_mask or voxel_mask. In
    the tissue, um: that, with grid_spacing and origin_coords (x, y, z) of the ImagingPlane; its z
    is the depth of the field. To NWB, origin_coords is a corner of the field; MICrONS writes its
    centre, which shifts all units alike, as the fields of a recording have one size.
Areas and layers
    A column brain_area or area, else the location of the ImagingPlane where that is one name; a
    column layer, else the layer at the field's depth.
Images
    A stimulus template: an ImageSeries `(n_images, height, width)`, or Images of GrayscaleImages
    `(height, width)`; grey values 0-255. Its name is the class of the images.
Presentations
    Tables of intervals (trials or others) with start_time, stop_time and a column image_index (row
    of the template, from 0) or image_name (in Images). A table shows the template that is called
    like it, with or without `_presentations`, or the only one. Without such tables, every
    IndexSeries among the stimuli: its times are onsets, its data rows of its own template.
Pupil
    PupilTracking with a TimeSeries called radius (the major before the minor one), diameter or
    area, and EyeTracking with a SpatialSeries `(n, 2)` at the same times; both, or it is left out.
Running
    A TimeSeries called velocity or speed of a treadmill, wheel, running or locomotion, in m/s or
    cm/s; stored in cm/s.

All times are seconds on the clock of the session. The files of DANDI 000402 themselves show movies
and are refused: this project models responses to static images.
"""

from pipeline.ingest.rows import BadRecording

try:
    import pynwb  # noqa: F401
except ImportError as error:
    raise BadRecording("NWB files are read by pynwb: pip install 'inceptionloop[nwb]'") from error

from pipeline.ingest.nwb.reader import ingest_nwb, read_nwb

__all__ = ["ingest_nwb", "read_nwb"]
