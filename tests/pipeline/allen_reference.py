"""What the tests of the Allen reader need of allensdk; runs with the Python of .venv-allen.

`enrich` writes a copy of a session with Gabors, a pupil and invalid intervals, `cache` lays a file
out as EcephysProjectCache does, `reference` writes what allensdk itself says about a file.
"""

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pynwb
import SimpleITK
from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession
from allensdk.brain_observatory.nwb import (
    add_eye_gaze_mapping_data_to_nwbfile,
    add_eye_tracking_ellipse_fit_data_to_nwbfile,
    add_invalid_times,
    create_stimulus_presentation_time_interval,
)

INVALID = [  # start, stop, kind, label: one each of the stimulus, of this and of another probe
    (40.1, 40.2, "EcephysSession", "stimulus"),
    (50.1, 50.6, "EcephysProbe", "probeA"),
    (60.1, 61.0, "EcephysProbe", "probeZ"),
]

RAW = {
    "frame": "intervals/natural_scenes_presentations/frame",
    "speed": "processing/running/running_speed/data",
    "speed_from": "processing/running/running_speed/timestamps",
    "speed_to": "processing/running/running_speed_end_times/timestamps",
}


def enrich(source: str, target: str) -> None:
    with pynwb.NWBHDF5IO(source, "r", load_namespaces=True) as file:
        nwb = file.read()
        add_invalid_times(
            nwb,
            [
                {"type": kind, "id": 1, "label": label, "start_time": start, "end_time": stop}
                for start, stop, kind, label in INVALID
            ],
        )
        _add_gabors(nwb)
        _add_pupil(nwb)
        with pynwb.NWBHDF5IO(target, "w") as copy:
            copy.export(src_io=file, nwbfile=nwb)


def _add_gabors(nwb: pynwb.NWBFile) -> None:
    columns = {"stimulus_name": "gabors", "stimulus_block": 0.0, "stimulus_index": 7}
    columns |= {"contrast": 0.8, "phase": "[3644.93333333, 3644.93333333]", "size": "[20.0, 20.0]"}
    columns |= {"spatial_frequency": "0.08", "temporal_frequency": 4.0}
    varied = ("orientation", "x_position", "y_position")
    table = create_stimulus_presentation_time_interval(
        "gabors_presentations", "Gabors", [*columns, *varied]
    )
    grid = [(o, x, y) for o in (0.0, 45.0, 90.0) for x in (-40.0, 0.0, 40.0) for y in (-10.0, 10.0)]
    start = nwb.intervals["spontaneous_presentations"]["start_time"][:].max()
    for row, values in enumerate(grid * 2):
        time = start + 0.25 * row
        table.add_interval(
            start_time=time,
            stop_time=time + 0.25,
            tags=["stimulus_time_interval"],
            **columns,
            **dict(zip(varied, values, strict=True)),
        )
    nwb.add_time_intervals(table)


def _add_pupil(nwb: pynwb.NWBFile) -> None:
    rng = np.random.default_rng(0)
    times = pd.Series(np.arange(0, 160, 0.1))

    def table(names: str) -> pd.DataFrame:
        values = rng.uniform(10, 20, (len(times), len(names.split())))
        return pd.DataFrame(values, columns=names.split())

    ellipses = {
        f"{part}_params": table("center_x center_y height width phi")
        for part in ("pupil", "cr", "eye")
    }
    ellipses["pupil_params"].iloc[100:120] = np.nan  # a blink
    gaze = {"synced_frame_timestamps": times}
    for kind in ("raw", "new"):
        gaze |= {f"{kind}_pupil_areas": table("a").a, f"{kind}_eye_areas": table("a").a}
        gaze |= {f"{kind}_screen_coordinates": table("y x")}
        gaze |= {f"{kind}_screen_coordinates_spherical": table("y x")}
    add_eye_tracking_ellipse_fit_data_to_nwbfile(nwb, ellipses, times)
    add_eye_gaze_mapping_data_to_nwbfile(nwb, gaze)


def cache(source: str, scenes: str, folder: str) -> None:
    """The warehouse's tables say VISam where the file says LGd, as later registrations may."""
    home = Path(folder)
    session = EcephysSession.from_nwb_path(source)
    number = session.ecephys_session_id
    units, channels, probes = session.units, session.channels, session.probes
    tables = {
        "sessions": pd.DataFrame({"session_type": "brain_observatory_1.1"}, index=[number]),
        "probes": pd.DataFrame({"name": probes.description, "ecephys_session_id": number}),
        "channels": pd.DataFrame(
            {
                "ecephys_probe_id": channels.probe_id,
                "ecephys_structure_id": 394.0,
                "ecephys_structure_acronym": channels.structure_acronym.replace("LGd", "VISam"),
                "anterior_posterior_ccf_coordinate": channels.anterior_posterior_ccf_coordinate,
                "dorsal_ventral_ccf_coordinate": channels.dorsal_ventral_ccf_coordinate,
                "left_right_ccf_coordinate": channels.left_right_ccf_coordinate,
            }
        ),
        "units": pd.DataFrame(
            {
                "ecephys_channel_id": units.peak_channel_id,
                "quality": "good",
                "amplitude_cutoff": units.amplitude_cutoff,
                "presence_ratio": units.presence_ratio,
                "isi_violations": units.isi_violations,
            }
        ),
    }
    (home / f"session_{number}").mkdir(parents=True)
    shutil.copyfile(source, home / f"session_{number}" / f"session_{number}.nwb")
    for name, table in tables.items():
        table.to_csv(home / f"{name}.csv", index_label="id")
    pictures = home / "natural_scene_templates"
    pictures.mkdir()
    for frame, scene in enumerate(np.load(scenes)):
        SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(scene), str(pictures / f"natural_scene_{frame}.tiff")
        )


def reference(source: str, target: str) -> None:
    """Counts by `presentationwise_spike_times`, as the notebook makes them, tables, raw columns."""
    session = EcephysSession.from_nwb_path(source)
    presentations = session.stimulus_presentations
    shown = presentations[presentations.stimulus_name.isin(["natural_scenes", "gabors"])]
    units = np.sort(session.units.index.to_numpy())
    spikes = session.presentationwise_spike_times(shown.index.values, units)
    pairs = pd.MultiIndex.from_product([shown.index, units])
    counts = spikes.groupby(["stimulus_presentation_id", "unit_id"]).size()
    binned = session.presentationwise_spike_counts([0, 0.25], shown.index.values, units)
    pupil = session.get_pupil_data()
    with h5py.File(source) as file:
        raw = {name: file[path][()] for name, path in RAW.items()}
    np.savez(
        target,
        **raw,
        counts=counts.reindex(pairs, fill_value=0).to_numpy().reshape(len(shown), len(units)),
        binned=binned.values[:, 0],
        onset=shown.start_time.to_numpy(float),
        offset=shown.stop_time.to_numpy(float),
        unit_id=units,
        area=session.units.structure_acronym.loc[units].to_numpy(str),
        pupil=np.empty((0, 0)) if pupil is None else pupil.filter(like="pupil").to_numpy(),
    )


if __name__ == "__main__":
    {"enrich": enrich, "cache": cache, "reference": reference}[sys.argv[1]](*sys.argv[2:])
