// gemm in plain C++ with the compilers' four-float vectors: what every CPU of 64 bits can run, and the reference of the
// others.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm_kernels.h"

#define BITTERN_TARGET
#define BITTERN_INLINE [[gnu::always_inline]] static inline

namespace bittern::cpu {
namespace {

/// 4 x 8: 8 accumulators, two vectors of B, one broadcast of A, and a product in the making: within 16 registers.
struct PortableLanes {
  typedef std::uint32_t Words [[gnu::vector_size(16)]];
  typedef float Acc [[gnu::vector_size(16)]];
  static constexpr int lanes = 4, mr = 4;

  BITTERN_INLINE Words zero_words() { return Words{}; }
  BITTERN_INLINE Words load_words(const std::uint32_t* p) {
    Words x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  BITTERN_INLINE void store_words(std::uint32_t* p, Words x) { std::memcpy(p, &x, sizeof x); }
  BITTERN_INLINE Words broadcast(const void* p) {
    std::uint32_t word;
    std::memcpy(&word, p, sizeof word);
    return Words{word, word, word, word};
  }
  BITTERN_INLINE Acc zero_acc() { return Acc{}; }
  BITTERN_INLINE Acc all(float x) { return Acc{x, x, x, x}; }
  BITTERN_INLINE Acc add(Acc x, Acc y) { return x + y; }
  BITTERN_INLINE Acc multiply(Acc x, Acc y) { return x * y; }
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
    return acc + reinterpret_cast<Acc>(a) * reinterpret_cast<Acc>(b);
  }
  BITTERN_INLINE void transpose(Words (&r)[4]) {
    const Words a = r[0], b = r[1], c = r[2], d = r[3];
    for (int i = 0; i < 4; ++i) r[i] = Words{a[i], b[i], c[i], d[i]};
  }

  /// `count` elements as floats; the rest is zero.
  template <class T>
  BITTERN_INLINE Acc load(const T* p, int count = 4) {
    Acc x{};
    for (int i = 0; i < 4 && i < count; ++i) x[i] = to_float(p[i]);
    return x;
  }
  template <class T>
  BITTERN_INLINE void store(T* p, Acc x, int count = 4) {
    for (int i = 0; i < 4 && i < count; ++i) p[i] = from_float<T>(x[i]);
  }
};

#include "ops/cpu/gemm_template.h"

/// Any storage type: one element a word, through `to_word`.
template <class T, float (*to_word)(T)>
struct LoadEach {
  using Lanes = PortableLanes;
  using Stored = T;
  static constexpr int per_word = 1;
  BITTERN_INLINE Lanes::Words along(const T* p, int count = 4) {
    Lanes::Words words{};
    for (int i = 0; i < 4 && i < count; ++i) words[i] = float_bits(to_word(p[i]));
    return words;
  }
  BITTERN_INLINE Lanes::Words across(const T* p, const T*, int count = 4, bool = true) { return along(p, count); }
};

float as_it_is(float x) {
  return x;
}
float rounded(float x) {
  return to_float(to_bf16(x));
}
float widened(bf16 x) {
  return to_float(x);
}

constexpr GemmKernels f32_kernels =
    make_kernels<PortableLanes, LoadEach<float, as_it_is>, LoadEach<bf16, widened>>(Storage::f32);
constexpr GemmKernels bf16_kernels =
    make_kernels<PortableLanes, LoadEach<float, rounded>, LoadEach<bf16, widened>>(std::nullopt);

}  // namespace

const GemmKernels& gemm_kernels_portable(DType compute) {
  return compute == DType::f32 ? f32_kernels : bf16_kernels;
}

}  // namespace bittern::cpu
