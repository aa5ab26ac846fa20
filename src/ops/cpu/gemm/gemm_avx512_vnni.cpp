// gemm of 8-bit integers in AVX512-VNNI: VPDPBUSD adds four products of bytes to a sum.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_TARGET [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm/gemm_avx512_lanes.h"
#include "ops/cpu/gemm/gemm_int8_template.h"

struct DotLanes : Avx512Integers {
  static constexpr bool unsigned_a = true;
  BITTERN_INLINE Acc first_sum(const std::uint32_t* p) { return load_words(p); }
  BITTERN_INLINE Acc negative(Acc x) { return _mm512_sub_epi32(zero_acc(), x); }
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) { return _mm512_dpbusd_epi32(acc, a, b); }
};

constexpr GemmKernels int8_kernels = make_int8_kernels<LoadBytes<DotLanes, '\x80'>, LoadBytes<DotLanes>>();

}  // namespace

const GemmKernels& gemm_int8_kernels_avx512_vnni() {
  return int8_kernels;
}

}  // namespace bittern::cpu
#endif
