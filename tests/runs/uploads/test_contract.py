"""One contract of every way that snapshots take to MLflow: the run at its end is the same, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.sync import sync
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import UploadError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.options import UploadOptions
from tests.conftest import fast_options, new_run
from tests.helpers.faults import everything, experiment_run
from tests.helpers.faulty_proxy import Fault, FaultyProxy, faulty_proxy


@dataclass
class Place:
    """Where a way may lead: a local store, and a server behind a proxy that fails when it is told to."""

    local: MlflowClient
    server: MlflowClient
    proxy: FaultyProxy
    data: Any
    said: list[str] = field(default_factory=list)

    def train(
        self,
        client: MlflowClient,
        run_id: str,
        *,
        resume: bool = False,
        at: Callable[[str], None] = str,
        **uploads: Any,
    ) -> None:
        """Train in a run, calling back at every line."""

        def say(line: str) -> None:
            self.said.append(line)
            at(line)

        run = Run(client, run_id, say)
        options = stored_options(run) if resume else fast_options()
        train_backbone(run, options, data=self.data, uploads=UploadOptions(**uploads))

    @property
    def remote(self) -> MlflowClient:
        return MlflowClient(self.proxy.uri)


def to_a_folder(place: Place) -> tuple[MlflowClient, str]:
    run_id = new_run(place.local)
    place.train(place.local, run_id)
    return place.local, run_id


def to_a_server(place: Place) -> tuple[MlflowClient, str]:
    run_id = experiment_run(place.server)
    place.train(place.server, run_id)
    return place.server, run_id


def to_a_slow_server(place: Place) -> tuple[MlflowClient, str]:
    run_id = experiment_run(place.server)
    place.proxy.delay = 0.02
    place.train(place.remote, run_id, workers=1)
    return place.server, run_id


def to_a_server_that_fails(place: Place) -> tuple[MlflowClient, str]:
    run_id = experiment_run(place.server)
    place.proxy.faults = [Fault("500", "PUT", times=2), Fault("refuse", "runs/log-batch", times=2)]
    place.train(place.remote, run_id)
    assert sum(place.proxy.met.values()) == 4
    return place.server, run_id


def later_by_sync(place: Place) -> tuple[MlflowClient, str]:
    run_id = experiment_run(place.server)
    with pytest.raises(UploadError):
        place.train(
            place.remote, run_id, at=lambda line: place.proxy.down() if "snapshot 2/" in line else None, patience=1
        )
    place.proxy.up()
    assert sync(place.remote, UploadOptions().root / run_id, say=place.said.append) == "FINISHED"
    return place.server, run_id


def by_resuming(place: Place, client: MlflowClient, run_id: str) -> tuple[MlflowClient, str]:
    class Stop(BaseException):
        pass

    def stop(line: str) -> None:
        if "snapshot 3/" in line:
            raise Stop

    with suppress(Stop):
        place.train(client, run_id, at=stop)
    place.train(client, run_id, resume=True)
    return client, run_id


WAYS: dict[str, Callable[[Place], tuple[MlflowClient, str]]] = {
    "to a folder": to_a_folder,
    "to a server": to_a_server,
    "to a slow server": to_a_slow_server,
    "to a server that fails": to_a_server_that_fails,
    "later, by sync": later_by_sync,
    "to a folder, in two goes": lambda place: by_resuming(place, place.local, new_run(place.local)),
    "to a server, in two goes": lambda place: by_resuming(place, place.server, experiment_run(place.server)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_ends_with_the_same_run(way, client, server, impatient, data, whole):
    with faulty_proxy(server) as proxy:
        found, run_id = WAYS[way](Place(client, MlflowClient(server), proxy, data))
    assert everything(found, run_id) == whole
    assert not [path for path in Path(UploadOptions().root).glob("*") if path.is_dir()], "nothing waits any more"
