"""What trained efficient codes are: information, errors, tuning."""

from collections.abc import Iterator
from typing import Any

import datajoint as dj

from schemas.code_version import code_version
from schemas.configuration import Configuration
from schemas.model import TrainedModel, TrainingPlan, load_codes
from schemas.model_config import SeedSet
from schemas.operations import CodeVersion
from schemas.rows import column_rows, nullable
from science.coding import Stimulus
from science.coding.analysis import CodeAnalysis as Analysis
from science.coding.analysis import StimulusSample, analyse_codes
from science.coding.analysis_params import CodeAnalysisParams

schema = dj.Schema()

CODES_AT_ONCE = 10
"""Rows of a statement: each holds its curves."""

CODE_COLUMNS = {
    "analysed_rate": "rate",
    "analysed_distortion": "distortion",
    "excess": "excess",
    "generative_divergence": "divergence",
    "word_prior_entropy": "prior_entropy",
    "word_entropy": "marginal_entropy",
    "conditional_entropy": "conditional_entropy",
    "mutual_information": "information",
    "posterior_mse": "posterior_mse",
    "sampling_mse": "sampling_mse",
    "mean_width": "mean_width",
}
CURVE_COLUMNS = {
    "posterior_error": "posterior_error",
    "sampling_error": "sampling_error",
    "decoding_bias": "bias",
    "fisher_information": "fisher",
    "cramer_rao_bound": "bound",
    "spike_probability": "spike_probability",
    "generated_density": "generated",
}
NEURON_COLUMNS = {
    "neuron_index": "index",
    "tuning_centre": "centers",
    "tuning_width": "widths",
    "tuning_amplitude": "amplitudes",
    "peak_probability": "peaks",
    "preferred_stimulus": "preferred",
    "stimulus_width": "stimulus_widths",
    "preferred_density": "density",
    "preferred_error": "error",
    "word_prior_bias": "biases",
}


@schema
class CodeAnalysisConfig(Configuration, dj.Manual):
    definition = """
    # At which stimuli efficient codes are analysed
    code_analysis_hash : char(16)
    ---
    n_analysis_stimuli : int32
    smoothing_window : int32            # stimuli
    code_analysis_params : json
    """
    params_type = CodeAnalysisParams
    params_column = "code_analysis_params"

    @classmethod
    def columns(cls, params: CodeAnalysisParams) -> dict[str, Any]:
        return {"n_analysis_stimuli": params.n_stimuli, "smoothing_window": params.window}


@schema
class CodeAnalysisPlan(dj.Manual):
    definition = """
    # Analyses of efficient codes that someone asked for
    -> TrainingPlan
    -> CodeAnalysisConfig
    """


@schema
class CodeAnalysis(dj.Computed):
    definition = """
    # Efficient codes of a seed at stimuli drawn from their prior, exactly over all words; nats
    -> TrainedModel
    -> CodeAnalysisConfig
    ---
    n_finite_codes : int16
    n_nonfinite_codes : int16           # without a row
    stimulus_entropy : float64          # of the prior
    sample_entropy : float64            # mean of -log density over the stimuli drawn
    stimulus_variance : float64         # of the prior
    stimulus_grid : <blob>              # float64, (n_grid,), increasing, where curves are stored
    grid_density : <blob>               # float64, (n_grid,), of the prior
    -> CodeVersion
    """

    class Code(dj.Part):
        definition = """
        # One code; its neurons, in curves and couplings too, are in order of preferred stimulus
        -> master
        -> TrainedModel.Code
        ---
        analysed_rate : float64
        analysed_distortion : float64
        excess : float64                # distortion and rate less sample_entropy
        generative_divergence : float64 # of what prior and decoder generate from the stimulus prior
        word_prior_entropy : float64
        word_entropy : float64          # of the words that stimuli evoke
        conditional_entropy : float64   # of the words given the stimulus
        mutual_information : float64
        posterior_mse : float64         # of the decoded mean, squared stimulus
        sampling_mse : float64          # of a draw from the decoded law, squared stimulus
        mean_width = null : float64     # stimulus; null if stimuli occur at no preferred one
        posterior_error : <blob>        # float64, (n_grid,), squared stimulus
        sampling_error : <blob>         # float64, (n_grid,), squared stimulus
        decoding_bias : <blob>          # float64, (n_grid,), stimulus
        fisher_information : <blob>     # float64, (n_grid,), per squared stimulus
        cramer_rao_bound : <blob>       # float64, (n_grid,), of posterior_error, at its bias
        spike_probability : <blob>      # float64, (n_grid, n_neurons)
        generated_density : <blob>      # float64, (n_grid,), per stimulus
        smoothed_error : <blob>         # float64, (n_stimuli - window + 1,), of posterior_error
        couplings = null : <blob>       # float64, (n_neurons, n_neurons), of an Ising prior
        """

    class Neuron(dj.Part):
        """A neuron of a code and its tuning."""

        definition = """
        -> CodeAnalysis.Code
        neuron_rank : int16             # by preferred stimulus, from 0
        ---
        neuron_index : int16            # in the network
        tuning_centre : float64         # of what the encoder reads: stimulus, its log, or a mixture
        tuning_width : float64          # likewise
        tuning_amplitude : float64      # odds of a spike at the centre
        peak_probability : float64      # of a spike at the centre
        preferred_stimulus : float64
        stimulus_width : float64        # in units of the stimulus
        preferred_density : float64     # of the prior at the preferred stimulus
        preferred_error : float64       # squared posterior error there
        word_prior_bias = null : float64    # of Ising and Bernoulli priors
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Trained networks of all plans, those that did not stay finite too."""
        plans = CodeAnalysisPlan * SeedSet.Member
        return dj.U(*self.primary_key) & (plans & TrainedModel.proj())

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        weights, status = (TrainedModel & key).fetch1("weights_sha256", "training_status")
        codes = TrainedModel.Code & key
        indices = (codes & "code_status = 'ok'").to_arrays("code_index", order_by="code_index")
        # the weights of a training that broke off are those of an earlier state
        indices = indices.tolist() if status == "ok" else []
        return CodeAnalysisConfig.params(key), weights, indices, len(codes)

    def make_compute(
        self,
        key: dict[str, Any],
        params: CodeAnalysisParams,
        weights: str,
        indices: list[int],
        n_codes: int,
    ) -> tuple[Any, ...]:
        models, task = load_codes(weights)
        row = _stimulus_row(task.stimulus, params) | {
            "n_finite_codes": len(indices),
            "n_nonfinite_codes": n_codes - len(indices),
        }
        found = analyse_codes(models.members(indices), task, params) if indices else None
        return row, indices, found, code_version()

    def make_insert(
        self,
        key: dict[str, Any],
        row: dict[str, Any],
        indices: list[int],
        found: Analysis | None,
        code: dict[str, str],
    ) -> None:
        self.insert1(key | row | code)
        if found is not None:
            keys = [key | {"code_index": index} for index in indices]
            self.Code.insert(_code_rows(keys, found), chunk_size=CODES_AT_ONCE)
            self.Neuron.insert(_neuron_rows(keys, found))


def _stimulus_row(stimulus: Stimulus, params: CodeAnalysisParams) -> dict[str, Any]:
    """Return the columns that the codes of a task have in common."""
    sample = StimulusSample.of(stimulus, params)
    return {
        "stimulus_entropy": stimulus.entropy(),
        "sample_entropy": sample.entropy,
        "stimulus_variance": stimulus.variance(),
        "stimulus_grid": sample.grid,
        "grid_density": stimulus.density(sample.grid),
    }


def _code_rows(keys: list[dict[str, Any]], found: Analysis) -> Iterator[dict[str, Any]]:
    """Yield one row per code."""
    couplings = found.neurons.couplings
    for k, key in enumerate(keys):
        row = {name: float(getattr(found, field)[k]) for name, field in CODE_COLUMNS.items()}
        row |= {name: getattr(found.curves, field)[k] for name, field in CURVE_COLUMNS.items()}
        row |= {
            "smoothed_error": found.smoothed_error[k],
            "couplings": None if couplings is None else couplings[k],
        }
        yield nullable(key | row)


def _neuron_rows(keys: list[dict[str, Any]], found: Analysis) -> Iterator[dict[str, Any]]:
    """Yield one row per neuron of every code."""
    columns = {name: getattr(found.neurons, field) for name, field in NEURON_COLUMNS.items()}
    known = {name: values for name, values in columns.items() if values is not None}
    for k, key in enumerate(keys):
        rows = column_rows(key, {name: values[k] for name, values in known.items()})
        yield from ({"neuron_rank": rank} | row for rank, row in enumerate(rows))
