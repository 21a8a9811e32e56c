"""A training of a second with either package of Lightning, in this process or, to be killed, in one of its own."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers.small_training import HELD_OUT, HELD_OUT_LABELS, IMAGES, LABELS, PROBE, PROBE_LABELS, SOON, net

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
EVERY_STEP = {"log_every_n_steps": 1}


def package(name: str) -> tuple[Any, Any]:
    """Lightning's package of a name, and the recorder for it."""
    recorder = "pytorch_lightning" if name == "pytorch_lightning" else "lightning"
    pl = importlib.import_module(name)
    importlib.import_module(f"{name}.loggers")
    return pl, importlib.import_module(f"fmce_mlflow.recording.integrations.{recorder}").FeatureMapRecorder


def module(pl: Any, **more: Any) -> Any:
    """`net` as a LightningModule of that package, whose training loss and validation loss are logged."""

    class Lit(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()
            self.losses: list[float] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.losses.append(loss.item())
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.5)

    for name, value in more.items():
        setattr(Lit, name, value)
    return Lit()


def loaders() -> tuple[Any, Any]:
    """Batches of 16 images to train on, three per epoch, and one of held-out images."""
    train = TensorDataset(IMAGES, LABELS)
    return DataLoader(train, batch_size=16), DataLoader(TensorDataset(HELD_OUT, HELD_OUT_LABELS), batch_size=16)


def recorder(cls: Any, **options: Any) -> Any:
    """A FeatureMapRecorder of `net`'s stem."""
    given = {
        "modules": ["net.stem"],
        "probe": PROBE,
        "labels": PROBE_LABELS,
        "convergence": SOON,
        "monitor": "val_loss",
    }
    return cls(**{**given, **options})


def main(
    name: str, uri: str, run_id: str, keep: Any, kill_at: int | None = None, checkpoint: str | None = None
) -> None:
    """Train four epochs in a run; kill this process at a step, or go on from a checkpoint, if one is named."""
    pl, cls = package(name)

    class Killer(pl.Callback):
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    trainer = pl.Trainer(
        max_epochs=4,
        logger=pl.loggers.MLFlowLogger("tests", tracking_uri=uri, run_id=run_id),
        callbacks=[Killer(), recorder(cls), pl.callbacks.ModelCheckpoint(filename="{step}", save_top_k=-1, **keep)],
        **QUIET,
        **EVERY_STEP,
    )
    model = module(pl)
    model.net.drop.p = 0.0  # Lightning's checkpoints keep no random state
    trainer.fit(model, *loaders(), ckpt_path=checkpoint)


def in_two_processes(uri: str, run_id: str | None, epochs: int, losses: str) -> None:
    """Train with DistributedDataParallel until the recorder of a run, if one is named, says stop; keep the losses."""
    pl, cls = package(PACKAGES[0])
    callbacks = [] if run_id is None else [recorder(cls, run_id=run_id, stop_when_converged=True, patience=1)]
    trainer = pl.Trainer(
        max_epochs=epochs,
        devices=2,
        strategy="ddp",
        logger=pl.loggers.MLFlowLogger("tests", tracking_uri=uri) if run_id else False,
        callbacks=callbacks,
        enable_checkpointing=False,
        **QUIET,
        **EVERY_STEP,
    )
    torch.manual_seed(3)
    model = module(pl)
    trainer.fit(model, *loaders())
    Path(losses, f"{trainer.global_rank}.json").write_text(json.dumps(model.losses))


if __name__ == "__main__":
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    (in_two_processes if "epochs" in told else main)(**told)
