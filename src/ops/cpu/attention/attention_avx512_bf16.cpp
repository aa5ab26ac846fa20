// The attention kernels for bf16 tensors with VDPBF16PS: sum += a0 b0 + a1 b1 for pairs of bf16, two at a time. f32
// tensors go to the AVX-512 kernels.
#include "ops/cpu/attention/attention.h"

#if defined(__x86_64__)
#define BITTERN_TARGET gnu::target("avx512bf16,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

#include "ops/cpu/attention/attention_backward_tiles.h"
#include "ops/cpu/attention/attention_bf16_pairs.h"
#include "ops/cpu/attention/attention_forward_tiles.h"

namespace bittern::cpu::attention {

Kernels avx512_bf16_kernels(DType dtype) {
  Kernels kernels = avx512_kernels(dtype);
  if (dtype != DType::bf16) return kernels;
  kernels.forward = forward<Dot>;
  kernels.backward = backward<Dot>;
  return kernels;
}

}  // namespace bittern::cpu::attention
#endif
