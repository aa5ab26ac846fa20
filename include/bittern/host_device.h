// BITTERN_HD marks element math that g++ and nvcc compile alike, so that the CPU and the GPU make the same bits.
#pragma once

#ifdef __CUDACC__
#define BITTERN_HD __host__ __device__ inline
#else
#define BITTERN_HD inline
#endif
