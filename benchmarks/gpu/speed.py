"""Times the kernels, other implementations, prediction and training on a GPU."""

from benchmarks.gpu.command import main
from benchmarks.gpu.comparisons import peers, training
from benchmarks.gpu.kernels import kernels
from benchmarks.gpu.predictions import predict
from benchmarks.gpu.run_lengths import run_lengths

STEPS = (kernels, predict, run_lengths, training, peers)

if __name__ == "__main__":
    main("speed", __doc__, STEPS)
