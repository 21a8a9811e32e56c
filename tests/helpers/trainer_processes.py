"""A training of the Hugging Face Trainer in one of several processes, which torchrun starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import torch
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

from fmce_mlflow.recording.integrations.transformers import FeatureMapRecorder
from tests.helpers.small_training import IMAGES, LABELS, PROBE, PROBE_LABELS, SOON


class Watched(Trainer):
    """Keeps the loss of every batch."""

    losses: list[float]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        vars(self).setdefault("losses", []).append(loss.item())
        return loss


def classifier() -> ResNetForImageClassification:
    """A residual network with BatchNorm, of two stages."""
    torch.manual_seed(1)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3)
    return ResNetForImageClassification(config)


def main(uri: str, run_id: str | None, epochs: int, losses: str) -> None:
    """Train until the recorder of a run, if one is named, says stop; keep the losses."""
    mlflow.set_tracking_uri(uri)
    rows = [{"pixel_values": x, "labels": int(y)} for x, y in zip(IMAGES, LABELS, strict=True)]
    args = TrainingArguments(
        losses, num_train_epochs=epochs, per_device_train_batch_size=12, learning_rate=0.02, use_cpu=True,
        report_to=[], save_strategy="no", ddp_backend="gloo", disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = Watched(classifier(), args, train_dataset=rows)
    if run_id is not None:
        options = {"probe": PROBE, "labels": PROBE_LABELS, "convergence": SOON, "patience": 1}
        trainer.add_callback(FeatureMapRecorder(trainer, run_id=run_id, stop_when_converged=True, **options))
    trainer.train()
    Path(losses, f"{trainer.args.process_index}.json").write_text(json.dumps(trainer.losses))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(**json.loads(sys.argv[1]))
