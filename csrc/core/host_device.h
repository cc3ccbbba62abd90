#pragma once

// Marks arithmetic that the CPU kernels and the CUDA kernels share.
#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__ inline
#else
#define HOST_DEVICE inline
#endif
