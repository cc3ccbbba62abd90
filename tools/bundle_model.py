"""Bundles a trained model with the package, in half precision.

python tools/bundle_model.py MODEL.safetensors
"""

import argparse
from pathlib import Path

from pose2seg import BUNDLED_WEIGHTS, load_model, save_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    model = load_model(parser.parse_args().model)
    save_checkpoint(model.half(), BUNDLED_WEIGHTS)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{BUNDLED_WEIGHTS}: {parameters:,} parameters, {BUNDLED_WEIGHTS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
