"""Driving scenes in the layouts of KITTI and nuScenes, as data to evaluate on."""

from __future__ import annotations

import mlflow
from torchvision.datasets import Kitti

from fmce_mlflow.evaluation.evaluate import evaluate_model
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.vision_files import CAMERAS, KITTI_SIZES, write_kitti, write_nuscenes


def evaluated(client, store, data):
    said = []
    run = Run(client, new_run(client), said.append)
    return evaluate_model(run, store.uris["pickle"], data, store.config())


def test_kitti_has_images_of_several_sizes_and_boxes_that_are_no_classes(tmp_path, evaluation_store):
    data = mlflow.data.from_images(Kitti(str(write_kitti(tmp_path)), train=True), name="kitti")
    assert data.targets is None
    assert sorted(data.inputs.read(i).shape[1::-1] for i in range(3)) == sorted(KITTI_SIZES)
    found = evaluated(evaluation_store.client, evaluation_store, data)
    assert any("Targets are not used" in text for text in found.choices)
    assert "37 × 122 to 38 × 124 made smaller to 8 × 8" in found.images.treatment
    assert found.images.targets is None and len(found.images.names) == len(KITTI_SIZES)


def test_a_camera_of_nuscenes_is_a_folder_of_images(tmp_path, evaluation_store):
    data = mlflow.data.from_images(write_nuscenes(tmp_path) / "samples" / "CAM_FRONT", name="nuscenes")
    assert (len(data.inputs), data.targets) == (3, None)
    found = evaluated(evaluation_store.client, evaluation_store, data)
    assert found.images.name == "nuscenes" and "36 × 64 made smaller to 8 × 8" in found.images.treatment
    assert all("CAM_FRONT" in name for name in found.images.names)


def test_the_folders_of_nuscenes_are_classes_and_what_a_lidar_saw_is_passed_over(tmp_path):
    data = mlflow.data.from_images(write_nuscenes(tmp_path) / "samples")
    assert [data.inputs.classes[label] for label in data.targets] == [
        camera for camera in sorted(CAMERAS) for _ in "123"
    ]
