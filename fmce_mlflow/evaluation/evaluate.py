"""Evaluate the functional modules of one model: what the plugin and the command line share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.data.dataset import Dataset
from mlflow.data.evaluation_dataset import EvaluationDataset, convert_data_to_mlflow_dataset
from mlflow.data.pyfunc_dataset_mixin import PyFuncConvertibleDatasetMixin
from mlflow.entities import DatasetInput, InputTag, LoggedModelInput
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError, ConfigError, DataError
from fmce_mlflow.evaluation.findings import Findings, Images, find_source, model_title
from fmce_mlflow.evaluation.log import Logged, log_findings, log_metrics
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.evaluation.saliency import Saliency, take_saliency
from fmce_mlflow.image_dataset.dataset import LOOKED_AT, inputs_of, sizes_of
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.images.input_batches import InputBatches, input_batches
from fmce_mlflow.method.images.preprocessing import InputShape, Preprocessing, as_preprocessing
from fmce_mlflow.method.networks.find_modules import earlier_modules, resolve_modules
from fmce_mlflow.method.networks.forward import as_input, padded, told_if_refused
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.scoring.score_bag import bag_order, is_far
from fmce_mlflow.method.scoring.score_modules import score_modules
from fmce_mlflow.predictor.find import NamedPredictor, find_predictor
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import TorchModel, load_torch_model, torch_model_of

if TYPE_CHECKING:
    from fmce_mlflow.method.saliency.grad_cam import Target


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """An evaluation that has been logged.

    Attributes:
        run_id: Its run.
        metrics: By name, as logged.
        findings: What was found, with tables and page.
        logged: Its artifacts.
    """

    run_id: str
    metrics: dict[str, float]
    findings: Findings
    logged: Logged


def evaluate_model(
    run: Run, model_uri: str, data: Any, config: EvaluationConfig | Mapping[str, Any] | None
) -> Evaluation:
    """Evaluate a model and log what was found to a run, whatever run is active.

    Args:
        run: The run, open; the caller closes it.
        model_uri: As :func:`~fmce_mlflow.runs.torch_models.load_torch_model` takes it.
        data: A dataset of ``mlflow.data.from_images``, a DataFrame or a 2-D array, as for ``mlflow.models.evaluate``.
        config: How to evaluate.

    Returns:
        What was logged.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    if not isinstance(config, EvaluationConfig):
        config = EvaluationConfig.read(config)
    client = run.client
    predictor = find_predictor(config.predictor, client)
    model = load_torch_model(model_uri, client)
    dataset, given = _evaluation_dataset(data)
    models = [LoggedModelInput(model.model_id)] if model.model_id else None
    inputs = [DatasetInput(given._to_mlflow_entity(), [InputTag("mlflow.data.context", "evaluation")])] if given else []
    client.log_inputs(run.id, inputs, models=models)
    findings = find(model, dataset, config, predictor, client=client)
    logged = log_findings(client, run.id, findings)
    log_metrics(client, run.id, findings, dataset)
    return Evaluation(run.id, findings.metrics, findings, logged)


def evaluate_loaded(
    model: Any,
    dataset: EvaluationDataset,
    config: Mapping[str, Any] | None,
    run_id: str,
    *,
    model_id: str | None,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Evaluation:
    """Evaluate a model that MLflow has loaded, for its ``evaluate``, on MLflow's own tracking server.

    Args:
        model: What ``mlflow.pyfunc.load_model`` gives.
        dataset: The images.
        config: As :meth:`EvaluationConfig.read` takes it.
        run_id: The run.
        model_id: The logged model to which MLflow will tie the metrics; where None, they are logged here.
        say: Tells the user of a choice or a figure.
        warn: Tells the user what is doubtful.

    Returns:
        What was logged.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    options = EvaluationConfig.read(config)
    predictor = find_predictor(options.predictor)
    client = MlflowClient()
    taken = torch_model_of(model)
    findings = find(taken, dataset, options, predictor, client=client)
    for text in findings.choices:
        say(text)
    for text in findings.warnings:
        warn(text)
    logged = log_findings(client, run_id, findings)
    if model_id is None:
        if taken.model_id:
            client.log_inputs(run_id, models=[LoggedModelInput(taken.model_id)])
        log_metrics(client, run_id, findings, dataset)
    say(findings.verdict())
    return Evaluation(run_id, findings.metrics, findings, logged)


def find(
    model: TorchModel,
    dataset: EvaluationDataset,
    config: EvaluationConfig,
    predictor: NamedPredictor,
    *,
    client: MlflowClient,
) -> Findings:
    """Evaluate a model's functional modules; nothing is logged.

    Args:
        model: The model; it is as before afterwards.
        dataset: The images.
        config: How to evaluate.
        predictor: FMCE-Net.
        client: Client of the server that may have the run that trained the model.

    Returns:
        What was found.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    return _Evaluation(model, dataset, config, predictor, client).run()


class _Evaluation:
    def __init__(
        self,
        model: TorchModel,
        dataset: EvaluationDataset,
        config: EvaluationConfig,
        predictor: NamedPredictor,
        client: MlflowClient,
    ) -> None:
        self.model, self.config, self.predictor, self.client = model, config, predictor, client
        self.dataset = dataset
        self.choices: list[str] = []
        self.warnings: list[str] = []
        self.early: tuple[str, ...] = ()

    def run(self) -> Findings:
        self.inputs = inputs_of(self.dataset, input_shape=self.model.input_shape, image_column=self.config.image_column)
        if self.inputs.choice:
            self.choices.append(self.inputs.choice)
        self.preprocessing = self._preprocessing()
        self.probe = self._probe(len(self.inputs))
        with placed(self.model.network, self.config.device):
            modules = self._modules()
            bag_size = self._bag_size()
            order, sizes = bag_order(len(self.probe), bag_size=bag_size, seed=self.config.seed)
            batches = self._batches(self.probe[order])
            scores = score_modules(
                self.model.network,
                modules,
                batches,
                self.predictor.predictor.net,
                images=len(self.inputs),
                bag_sizes=[int(size) for size in sizes],
                fixed_batch=self.model.fixed_batch,
                untrained=self._untrained(),
            )
            self._tell_skipped(batches)
            saliency = self._saliency(tuple(scores))
        source = find_source(self.client, self.model.facts, self.warnings)
        far = {name: is_far(one.distance, self.predictor.predictor.info) for name, one in scores.items()}
        for name in (name for name, is_so in far.items() if is_so):
            self.warnings.append(
                f"Module {name} lies {scores[name].distance:.1f} from the corpus that the predictor was trained on, "
                "where 1 is usual: its score may mean little. Train an FMCE-Net on models and images like these."
            )
        return Findings(
            model=self.model,
            predictor=self.predictor,
            images=self._images(bag_size),
            scores=scores,
            far=far,
            early=tuple(name for name in scores if name in self.early),
            saliency=saliency,
            source=source,
            choices=tuple(self.choices),
            warnings=tuple(self.warnings),
            title=model_title(self.client, self.model),
        )

    def _preprocessing(self) -> Preprocessing | None:
        """The config's, else the model's own, else the dataset's."""
        own = self.model.facts.preprocessing
        of_dataset = getattr(self.dataset, "preprocessing", None)
        for where, value in (("config", self.config.preprocessing), ("model", own), ("dataset", of_dataset)):
            if value is None:
                continue
            try:
                found = as_preprocessing(value, input_shape=self._input_shape(value))
            except ConfigError as error:
                if where == "config":
                    raise
                raise ConfigError(f"The {where}'s own preprocessing cannot be used: {error}") from None
            if where == "config" and own is not None and not self.inputs.is_float() and found != self._own(own):
                self.choices.append("The preprocessing is the config's, not the one in the model's metadata.")
            return found
        return None

    def _input_shape(self, preprocessing: Any) -> InputShape:
        """The model's; where its signature has no size, that of the images if they share one."""
        channels, height, width = self.model.input_shape or (None, None, None)
        if (height is None or width is None) and preprocessing != "imagenet":  # which has a size of its own
            seen = self.inputs.shapes(1 if self.inputs.is_float() else LOOKED_AT)
            sizes = sizes_of(self.inputs, seen)
            if len(sizes) == 1:
                height, width = (known or size for known, size in zip((height, width), sizes.pop(), strict=True))
        return channels, height, width

    def _own(self, value: Mapping[str, Any]) -> Preprocessing | None:
        try:
            return as_preprocessing(value, input_shape=self._input_shape(value))
        except ConfigError:
            return None

    def _probe(self, n: int) -> NDArray[np.int64]:
        """The images that are used, ascending."""
        most = self.config.probe_size
        if most is None or most >= n:
            return np.arange(n)
        self.choices.append(f"{most:,} of {n:,} images are used, drawn with seed {self.config.seed}.")
        return np.sort(np.random.default_rng(self.config.seed).choice(n, most, replace=False))

    def _modules(self) -> tuple[str, ...]:
        network, names = self.model.network, self.config.names
        size = self.model.fixed_batch or 2
        batch = next(iter(self._batches(self.probe, batch_size=min(size, 2))))
        pixels = as_input(network, padded(batch.pixels, size))
        with told_if_refused(pixels):
            found = resolve_modules(network, names, example=pixels)
        if not names:
            self.choices.append(
                f"No module is named, so the last feature stage is evaluated: {found[0]}. Name others in `modules`."
            )
            return found
        if found != names:
            self.choices.append(f"Modules that fit {', '.join(names)}: {', '.join(found)}.")
        self._tell_early(found, pixels)
        return found

    def _tell_early(self, names: tuple[str, ...], example: Tensor) -> None:
        """Warn of modules from further ahead in the network than any of the predictor's corpus."""
        rows = self.predictor.predictor.info.get("corpus")
        rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
        known = {(row.get("backbone"), row.get("module")) for row in rows}
        unknown = [name for name in names if name not in {module for _, module in known}]
        several_of_one = len(known) > len({backbone for backbone, _ in known})
        if not known or not unknown or several_of_one:
            return
        last, self.early = earlier_modules(self.model.network, unknown, example=example)
        if self.early:
            many = len(self.early) > 1
            self.warnings.append(
                f"{'Modules' if many else 'Module'} {', '.join(self.early)} {'lie' if many else 'lies'} earlier in the "
                f"network than its last feature stage, {last}, and the predictor's corpus has none such: "
                f"{'their scores' if many else 'its score'} may mean little."
            )

    def _bag_size(self) -> int:
        if self.config.bag_size is not None:
            return self.config.bag_size
        trained = self.predictor.predictor.info.get("params", {}).get("bag_size", "")
        return int(trained) if str(trained).isdecimal() and int(trained) >= 2 else BagConfig().bag_size

    def _untrained(self) -> nn.Module | None:
        """The network with fresh weights, where the predictor looks at the contrast with it and it can be made."""
        if not self.predictor.predictor.net.wants_reference:
            return None
        try:
            return reinitialised(self.model.network)
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            self.warnings.append(
                f"The model cannot be copied with fresh weights ({type(error).__name__}: {reason}), so the predictor "
                "does without the contrast and is less sure."
            )
            return None

    def _batches(self, indices: NDArray[np.int64], *, batch_size: int | None = None) -> InputBatches:
        return input_batches(
            self.inputs,
            batch_size=batch_size or self.config.batch_size,
            preprocessing=self.preprocessing,
            input_shape=self.model.input_shape,
            unreadable=self.config.unreadable,
            indices=indices,
        )

    def _tell_skipped(self, batches: InputBatches) -> None:
        self.warnings += list(dict.fromkeys(batches.notes))
        names = list(dict.fromkeys(f"{one.name} ({one.reason})" for one in batches.skipped))
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            what = "1 image cannot be read and is" if len(names) == 1 else f"{len(names)} images cannot be read and are"
            self.warnings.append(f"{what} left out: {'; '.join(names[:5])}{more}.")

    def _saliency(self, modules: tuple[str, ...]) -> Saliency | None:
        most = self.config.saliency_images
        if not most:
            return None
        places = np.unique(np.linspace(0, len(self.probe) - 1, min(most, len(self.probe))).astype(np.int64))
        try:
            found = take_saliency(
                self.model,
                modules,
                self._batches(self.probe[places]),
                target=self._target(),
                preprocessing=None if self.inputs.is_float() else self.preprocessing,
            )
        except CaptureError as error:
            if self.config.saliency is not None:
                raise
            self.warnings.append(f"There is no Grad-CAM: {error}")
            return None
        blank = [name for name, values in found.focus.items() if len(values) and not values.any()]
        if blank:
            self.warnings.append(
                f"Grad-CAM shows nothing in {', '.join(blank)}: the map has a single position, or no positive gradient "
                "reaches it, as where a transformer's class token alone is read. Name a module before it."
            )
        return found

    def _target(self) -> Callable[[int], int | Target] | None:
        wanted = self.config.saliency_target
        if wanted is None:
            return None
        if wanted != "label":
            return lambda _: wanted
        targets = self.inputs.targets
        if targets is None or not np.issubdtype(np.asarray(targets).dtype, np.integer):
            raise ConfigError("saliency_target is 'label', but the images have no labels that are class indices.")
        return lambda index: int(targets[index])

    def _images(self, bag_size: int) -> Images:
        classes = self.inputs.classes or self.model.facts.classes
        return Images(
            name=self.dataset.name or "images",
            digest=self.dataset.digest or self.dataset.hash or "",
            indices=self.probe,
            names=[self.inputs.name(int(index)) for index in self.probe],
            targets=None if self.inputs.targets is None else np.asarray(self.inputs.targets)[self.probe],
            classes=tuple(classes),
            bag_size=bag_size,
        )


@contextmanager
def placed(network: nn.Module, device: str | None) -> Iterator[None]:
    """A network on another device for a while; afterwards it is where it was.

    Args:
        network: The network.
        device: As torch names it; None to leave it where it is.

    Raises:
        ConfigError: If there is no such device.
    """
    weight = next(network.parameters(), None)
    if device is None or weight is None:
        yield
        return
    before = weight.device
    try:
        network.to(torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        network.to(before)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"device {device!r} cannot be used: {reason}") from error
    try:
        yield
    finally:
        network.to(before)


def _evaluation_dataset(data: Any) -> tuple[EvaluationDataset, Dataset | None]:
    try:
        given = data if isinstance(data, Dataset) else convert_data_to_mlflow_dataset(data)
        if isinstance(given, PyFuncConvertibleDatasetMixin) and isinstance(given, Dataset):
            return given.to_evaluation_dataset(), given
        return EvaluationDataset(given), None
    except MlflowException as error:
        raise DataError(f"{error} For images use mlflow.data.from_images.") from error
