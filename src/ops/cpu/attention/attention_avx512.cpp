// The attention kernels for AVX-512 without bf16 instructions: bf16 tensors become f32 while they are packed.
#include "ops/cpu/attention/attention.h"

#if defined(__x86_64__)
#define BITTERN_TARGET gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

#include "ops/cpu/attention/attention_avx512.h"
#include "ops/cpu/attention/attention_backward_tiles.h"
#include "ops/cpu/attention/attention_decode_tiles.h"
#include "ops/cpu/attention/attention_forward_tiles.h"

namespace bittern::cpu::attention {
namespace {

template <class E>
Kernels kernels() {
  using M = Fma<Avx512, E>;
  return {.lanes = {Avx512::width, Avx512::panel},
          .forward = forward<M>,
          .backward = backward<M>,
          .store_rows = store_rows<Avx512, E>,
          .decode = decode<Avx512, E>};
}

}  // namespace

Kernels avx512_kernels(DType dtype) {
  return dtype == DType::bf16 ? kernels<bf16>() : kernels<float>();
}

}  // namespace bittern::cpu::attention
#endif
