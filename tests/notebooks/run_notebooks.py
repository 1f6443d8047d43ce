"""Run notebooks one after another in one process: `run_notebooks.py FIGURES NOTEBOOK...`.

Prints one JSON object per notebook: its name, seconds, those that it computed (of processes that
it started, too), number of figures, and the error if there was one. Figures are saved as PNG;
warnings are errors.
"""

import json
import os
import runpy
import sys
import time
import traceback
import warnings
from pathlib import Path

# Threads wait for each other where cores are few; read when NumPy and Torch are first imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import pipeline.connection  # noqa: F401  imports DataJoint without its warnings


def run(notebook: Path, figures: Path) -> dict:
    start, computed = time.monotonic(), sum(os.times()[:4])
    error, made = None, {}
    try:
        made = runpy.run_path(str(notebook))
    except Exception:
        error = traceback.format_exc()
    spent = {"seconds": time.monotonic() - start, "computed": sum(os.times()[:4]) - computed}
    shown = [plt.figure(number) for number in plt.get_fignums()]
    # Those of the report's modules are unknown to pyplot; a notebook gives each a name of its own.
    shown += [f for f in made.values() if isinstance(f, Figure) and f not in shown]
    for number, figure in enumerate(shown, 1):
        figure.savefig(figures / f"{notebook.stem}-{number}.png", dpi=100)
    n_figures = len(shown)
    plt.close("all")
    return {"name": notebook.stem, "figures": n_figures, "error": error} | spent


def main(figures: Path, notebooks: list[Path]) -> None:
    plt.switch_backend("Agg")
    figures.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*MariaDB.*", UserWarning)
    # What notebooks and the programs that they start print is not to come between the results.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1) as results:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for notebook in notebooks:
            results.write(json.dumps(run(notebook, figures)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
