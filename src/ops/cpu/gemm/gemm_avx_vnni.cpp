// gemm of 8-bit integers in AVX-VNNI, on CPUs without AVX-512: VPDPBUSD adds four products of bytes to a sum.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"

#if defined(__x86_64__)
#include "ops/cpu/machine/intrinsics.h"

#define BITTERN_TARGET [[gnu::target("avxvnni,avx2,fma")]]

namespace bittern::cpu {
namespace {

#include "ops/cpu/gemm/gemm_avx2_lanes.h"
#include "ops/cpu/gemm/gemm_int8_template.h"

struct DotLanes : Avx2Integers {
  static constexpr bool unsigned_a = true;
  BITTERN_INLINE Acc first_sum(const std::uint32_t* p) { return load_words(p); }
  BITTERN_INLINE Acc negative(Acc x) { return _mm256_sub_epi32(zero_acc(), x); }
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) { return _mm256_dpbusd_avx_epi32(acc, a, b); }
};

/// Words of four bytes, each of them xor `flipped`.
template <char flipped>
struct LoadBytes {
  using Lanes = DotLanes;
  using Stored = std::int8_t;
  static constexpr int per_word = 4;
  BITTERN_INLINE __m256i along(const std::int8_t* p, int count = 32) {
    std::int8_t copy[32];
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(filled_up(p, count, copy)));
    return _mm256_xor_si256(bytes, _mm256_set1_epi8(flipped));
  }
};

constexpr GemmKernels int8_kernels = make_int8_kernels<LoadBytes<'\x80'>, LoadBytes<'\0'>>();

}  // namespace

const GemmKernels& gemm_int8_kernels_avx_vnni() {
  return int8_kernels;
}

}  // namespace bittern::cpu
#endif
