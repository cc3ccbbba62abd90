#pragma once

// HOST_DEVICE marks a function that the CPU kernels and the CUDA kernels share, and UNROLL a loop in it whose
// arrays must stay in registers on a GPU.
#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__ inline
#else
#define HOST_DEVICE inline
#endif

#ifdef __CUDA_ARCH__  // the host's compiler does not know the pragma
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif
