"""The allensdk side of `spike_counts.py`; runs with the Python of .venv-allen.

Takes a folder with the session as .npy files, leaves `counts.npy` there and prints the seconds.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession
from allensdk.brain_observatory.ecephys.ecephys_session_api import EcephysSessionApi

QUALITIES = {"isi_violations": 0.0, "amplitude_cutoff": 0.0, "presence_ratio": 1.0}


class Simulated(EcephysSessionApi):
    """Serves simulated units and presentations from memory."""

    def __init__(self, folder: Path) -> None:
        self.data = {path.stem: np.load(path) for path in folder.glob("*.npy")}

    def get_stimulus_presentations(self) -> pd.DataFrame:
        """Return natural scenes in their blocks."""
        n = len(self.data["starts"])
        columns = {"stimulus_name": "natural_scenes", "stimulus_block": 0.0, "stimulus_index": 0}
        times = {"start_time": self.data["starts"], "stop_time": self.data["stops"]}
        return pd.DataFrame({**columns, **times, "frame": self.data["frames"]}, index=range(n))

    def get_invalid_times(self) -> pd.DataFrame:
        """Return none."""
        return pd.DataFrame()

    def get_probes(self) -> pd.DataFrame:
        """Return one probe."""
        return pd.DataFrame({"description": ["probeA"]}, index=[1])

    def get_channels(self) -> pd.DataFrame:
        """Return one channel."""
        place = {"probe_vertical_position": [0], "probe_horizontal_position": [0]}
        return pd.DataFrame({"probe_id": [1], **place}, index=[1])

    def get_units(self) -> pd.DataFrame:
        """Return all units, on one channel."""
        return pd.DataFrame({"peak_channel_id": 1, **QUALITIES}, index=self.data["unit_id"])

    def get_spike_times(self) -> dict[int, np.ndarray]:
        """Return the spikes by unit."""
        ends = np.cumsum(self.data["spike_counts"])[:-1]
        trains = np.split(self.data["spike_times"], ends)
        return dict(zip(self.data["unit_id"].tolist(), trains, strict=True))


def main(folder: Path) -> None:
    """Count as the notebook does and time it."""
    session = EcephysSession(api=Simulated(folder))
    shown, units = session.stimulus_presentations.index.values, session.units.index.values
    session.presentationwise_spike_times(shown[:1], units[:1])  # builds the session's tables
    start = time.perf_counter()
    spikes = session.presentationwise_spike_times(shown, units)
    counted = spikes.groupby(["stimulus_presentation_id", "unit_id"]).count()
    seconds = time.perf_counter() - start
    pairs = pd.MultiIndex.from_product([shown, np.sort(units)])
    counts = counted["time_since_stimulus_presentation_onset"].reindex(pairs, fill_value=0)
    np.save(folder / "counts.npy", counts.to_numpy().reshape(len(shown), len(units)))
    sys.stdout.write(f"{seconds}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
