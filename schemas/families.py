"""The families of networks: what each is trained on, how it is stored, what is scored of it."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from schemas.dataset import TargetDataset, Task, TaskConfig, TrainingSet
from schemas.loading import load_dataset
from schemas.rows import unit_rows
from science.coding import CodingConfig, CodingModels, CodingTrainee, CodingTraining
from science.coding.weights import pack as pack_codes
from science.dataset import ImageDataset
from science.feedback import (
    FeedbackConfig,
    FeedbackNetwork,
    FeedbackTrainee,
    FeedbackTraining,
)
from science.feedback import pack as pack_feedback_network
from science.model.config import ImageModelConfig, TrainConfig
from science.model.ensemble import Ensemble
from science.model.fitting import image_trainee, statistics
from science.model.network import ImageNetwork
from science.model.scores import unit_scores
from science.model.weights import pack as pack_image_network
from science.navigation import PathIntegrator, PathIntegratorConfig
from science.navigation.training import PathIntegratorTrainee, PathIntegratorTraining
from science.navigation.weights import pack as pack_path_integrator
from science.params import Params
from science.training import Trainee

Scores = dict[str, NDArray[np.float64]]
Rows = list[dict[str, Any]]


class Family(Protocol):
    """One training of a network, from its configuration to the rows that are stored of it.

    Attributes
    ----------
    architecture, training : type
        Of the parameters in `ModelConfig`, or a union of types, and in `TrainConfig`.
    trainee : Trainee
    """

    architecture: ClassVar[Any]
    training: ClassVar[type[Params]]
    trainee: Trainee

    def __init__(
        self, key: dict[str, Any], config: Any, training: Any, source: Any, device: str
    ) -> None: ...

    @staticmethod
    def source(key: dict[str, Any]) -> Any:
        """Return what a training set says of its data: small, and other for other data."""
        ...

    def pack(self, network: nn.Module) -> bytes:
        """Return the weights with all that inference needs."""
        ...

    def scores(self, network: nn.Module) -> dict[str, Rows]:
        """Return the rows, less the key of the network, by the name of the part table."""
        ...


class ImageFamily:
    """Networks that predict the responses of recorded units to images."""

    architecture = ImageModelConfig
    training = TrainConfig

    def __init__(
        self,
        key: dict[str, Any],
        config: ImageModelConfig,
        training: TrainConfig,
        source: str,
        device: str,
    ) -> None:
        self._config, self._dataset = config, load_dataset(key, source)
        self.trainee = image_trainee(self._dataset, config, training, device)

    @staticmethod
    def source(key: dict[str, Any]) -> str:
        """Return the digest of the dataset."""
        return (TargetDataset & key).fetch1("dataset_digest")

    def pack(self, network: ImageNetwork) -> bytes:
        """Return the weights with the statistics of the dataset."""
        return pack_image_network(network, statistics(self._dataset))

    def scores(self, network: ImageNetwork) -> dict[str, Rows]:
        """Return the scores of all units, with recorded and with mean behaviour."""
        recorded, mean = image_scores(network, self._dataset, self._config)
        mean_rows = unit_rows({}, prefixed("mean_input_", mean))
        return {"UnitScore": unit_rows({}, recorded), "MeanInputScore": mean_rows}


def prefixed(prefix: str, scores: Scores) -> Scores:
    """Return scores under the names of their columns."""
    return {f"{prefix}{name}": column for name, column in scores.items()}


def image_scores(
    network: ImageNetwork | Ensemble, dataset: ImageDataset, config: ImageModelConfig
) -> tuple[Scores, Scores]:
    """Score all units with recorded and, where the model makes use of them, with mean inputs."""
    recorded = unit_scores(network, dataset)
    return recorded, unit_scores(network, dataset, "mean") if config.needs_behavior else {}


class TaskFamily:
    """Networks that a task trains, which makes its data as they are needed.

    Attributes
    ----------
    trainee_type : type
        Of one training, from configuration, training, task and device.
    packed : callable
        Returns the weights of a network with its task.
    """

    trainee_type: ClassVar[Callable[..., Trainee]]
    packed: ClassVar[Callable[..., bytes]]

    def __init__(
        self, key: dict[str, Any], config: Any, training: Any, source: Any, device: str
    ) -> None:
        self._training, self._task = training, source
        self.trainee = self.trainee_type(config, training, source, device)

    @staticmethod
    def source(key: dict[str, Any]) -> Task:
        """Return the task."""
        return TaskConfig.params(TrainingSet & key)

    def pack(self, network: nn.Module) -> bytes:
        """Return the weights with the task."""
        return type(self).packed(network, self._task)


class NavigationFamily(TaskFamily):
    """Path integrators, trained on walks."""

    architecture = PathIntegratorConfig
    training = PathIntegratorTraining
    trainee_type = PathIntegratorTrainee
    packed = staticmethod(pack_path_integrator)

    def scores(self, network: PathIntegrator) -> dict[str, Rows]:
        """Return how far decoded positions are from true ones."""
        held_out = self.trainee.held_out(network)
        return {
            "DecodingError": [
                {
                    "decoding_error": held_out.error,
                    "median_decoding_error": held_out.median,
                    "standing_error": held_out.standing_error,
                    "centre_error": held_out.centre_error,
                }
            ]
        }


class CodingFamily(TaskFamily):
    """Efficient codes, one network per target rate, trained on stimuli drawn from their prior."""

    architecture = CodingConfig
    training = CodingTraining
    trainee_type = CodingTrainee
    packed = staticmethod(pack_codes)

    def scores(self, network: CodingModels) -> dict[str, Rows]:
        """Return rates and distortions of every code, in training and on the common stimuli."""
        distortion, rate = (values.cpu().numpy() for values in self.trainee.held_out(network))
        curves = network.history.values[:, : network.history.n_epochs].cpu().numpy()
        last = curves[:, -1] if curves.shape[1] else np.full((3, len(rate)), np.nan)
        return {
            "Code": [
                {
                    "code_index": index,
                    "target_rate": target,
                    "code_status": "ok" if np.isfinite(distortion + rate)[index] else "nonfinite",
                    "train_distortion": float(last[0, index]),
                    "train_rate": float(last[1, index]),
                    "rate_multiplier": float(network.beta[index]),
                    "test_distortion": float(distortion[index]),
                    "test_rate": float(rate[index]),
                    "code_curves": np.ascontiguousarray(curves[..., index]),
                }
                for index, target in enumerate(self._training.target_rates)
            ]
        }


class FeedbackFamily(TaskFamily):
    """Networks whose gains feedback modulates, trained on mixtures."""

    architecture = FeedbackConfig
    training = FeedbackTraining
    trainee_type = FeedbackTrainee
    packed = staticmethod(pack_feedback_network)

    def scores(self, network: FeedbackNetwork) -> dict[str, Rows]:
        """Return the loss in contexts that the network was not trained on."""
        return {"SourceLoss": [source_loss_row(self.trainee, network)]}


def source_loss_row(trainee: FeedbackTrainee, network: FeedbackNetwork) -> dict[str, float]:
    """Return the losses of a network in the contexts of its trainee that it is scored on."""
    held_out = trainee.held_out(network)
    return {"source_loss": held_out.loss, "silent_loss": held_out.silent_loss}


FAMILIES: dict[str, type[Family]] = {
    "image": ImageFamily,
    "navigation": NavigationFamily,
    "coding": CodingFamily,
    "feedback": FeedbackFamily,
}
