"""The model whose outputs the golden data holds."""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from golden import golden_path
from golden_weights import make_weights
from pose2seg import Pose2Seg, load_checkpoint, load_templates


def golden_model(folder: Path) -> Pose2Seg:
    """Returns the model with the golden weights, read from a file in `folder` in the format of torch 1.x."""
    entries = json.loads(golden_path("state_dict_official.json").read_text())["state_dict"]
    weights = make_weights([tuple(entry) for entry in entries])
    assert len(weights) == 588
    path = folder / "official.pkl"
    tensors = OrderedDict((key, torch.from_numpy(array)) for key, array in weights.items())
    torch.save(tensors, path, _use_new_zipfile_serialization=False)

    model = Pose2Seg(load_templates(golden_path("templates_official.json")))
    load_checkpoint(model, path)
    path.unlink()
    return model.eval()
