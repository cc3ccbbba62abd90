"""A folder with the inputs of `pose2seg predict`, and its words on the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from pose2seg import load_templates, save_checkpoint
from small_model import small_model


def write_files(folder: Path) -> Path:
    """Writes the inputs of `predict`: random weights, 1.png with a person, and 2.png without poses."""
    (folder / "images").mkdir()
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(folder / "images" / name), np.full((40, 30, 3), 90, np.uint8))
    keypoints = [number for j in range(17) for number in (5 + j, 2 * j, 2)]
    (folder / "poses.json").write_text(json.dumps([{"image_id": 1, "keypoints": keypoints, "score": 0.5}]))
    (folder / "templates.json").write_text(json.dumps({"templates": [[0.5, 0.5, 2.0] * 17]}))
    torch.manual_seed(0)
    save_checkpoint(small_model(load_templates(folder / "templates.json")), folder / "model.safetensors")
    return folder


def arguments(files: Path, *inputs: str, **replaced: str) -> list[str]:
    options = {
        "poses": str(files / "poses.json"),
        "weights": str(files / "model.safetensors"),
        "templates": str(files / "templates.json"),
        "output": str(files / "masks.json"),
        "device": "cpu",
    } | replaced
    paths = [str(files / "images" / name) for name in inputs]
    return ["predict", *paths, *(word for name, value in options.items() for word in (f"--{name}", value))]
