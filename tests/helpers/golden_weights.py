"""Deterministic weights for the end-to-end golden data: the same numbers on every machine."""

import zlib

import numpy as np

PREDICTION_GAIN, PREDICTION_BIAS = 3.233, 4.201
UNIT_GAIN = ("fpn", "downsample", "conv4")


def make_weights(entries: list[tuple[str, list[int], str]]) -> dict[str, np.ndarray]:
    """Returns the weights for entries (key, shape, dtype). Each key seeds its own generator, so order does
    not matter."""
    batch_norms = {key[: -len(".running_mean")] for key, _, _ in entries if key.endswith(".running_mean")}
    return {key: _array(key, shape, dtype, batch_norms) for key, shape, dtype in entries}


def _array(key: str, shape: list[int], dtype: str, batch_norms: set[str]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    module, leaf = key.rsplit(".", 1)
    if dtype == "int64":
        return np.zeros(shape, np.int64)
    if key == "segnet.pred_small.bias":
        value = np.array([0.0, PREDICTION_BIAS])
    elif module in batch_norms:
        value = _batch_norm(random, module, leaf, shape[0])
    elif leaf == "bias":
        value = 0.05 * random.randn(*shape)
    else:
        gain = 1.0 if any(name in key for name in UNIT_GAIN) else 2.0
        value = random.standard_normal(shape) * np.sqrt(gain / int(np.prod(shape[1:])))
        if key == "segnet.pred_small.weight":
            value = value * PREDICTION_GAIN
    return np.asarray(value, dtype=np.float32)


def _batch_norm(random: np.random.RandomState, module: str, leaf: str, channels: int) -> np.ndarray:
    if leaf == "weight":
        return (0.25 if module.endswith("bn3") else 1.0) * random.uniform(0.8, 1.2, channels)
    if leaf == "running_var":
        return random.uniform(0.7, 1.4, channels)
    return 0.1 * random.randn(channels)
