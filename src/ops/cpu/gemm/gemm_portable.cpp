// gemm in plain C++ with the compilers' four-float vectors: what every CPU of 64 bits can run, and the reference of the
// others.
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "bittern/quant/bf16.h"
#include "ops/cpu/gemm/gemm_kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define BITTERN_TARGET
#define BITTERN_INLINE [[gnu::always_inline]] static inline

namespace bittern::cpu {
namespace {

/// 4 x 8: 8 accumulators, two vectors of B, one broadcast of A, and a product in the making: within 16 registers.
struct PortableLanes {
  typedef std::uint32_t Words [[gnu::vector_size(16)]];
  typedef float Acc [[gnu::vector_size(16)]];
  using Floats = PortableLanes;
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
  BITTERN_INLINE Words words(Acc x) { return reinterpret_cast<Words>(x); }
  BITTERN_INLINE Words rounded_words(Acc x) {
    for (int i = 0; i < 4; ++i) x[i] = to_float(to_bf16(x[i]));
    return words(x);
  }
  BITTERN_INLINE Acc zero_acc() { return Acc{}; }
  BITTERN_INLINE Acc first_sum(const std::uint32_t*) { return zero_acc(); }
  BITTERN_INLINE Acc floats(Acc x) { return x; }
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
  BITTERN_INLINE Acc load(const std::int32_t* p) {
    Acc x{};
    for (int i = 0; i < 4; ++i) x[i] = static_cast<float>(p[i]);
    return x;
  }
  template <class T>
  BITTERN_INLINE void store(T* p, Acc x, int count = 4) {
    for (int i = 0; i < 4 && i < count; ++i) p[i] = from_float<T>(x[i]);
  }
  template <class C>
  BITTERN_INLINE void store_two(C* p, Acc x, Acc y) {
    store(p, x);
    store(p + lanes, y);
  }
};

/// Sums of integers in 32 bits, of pairs of 16.
struct PortableIntegers : PortableLanes {
  typedef std::int32_t Acc [[gnu::vector_size(16)]];
  static constexpr bool unsigned_a = false;
  BITTERN_INLINE Acc zero_acc() { return Acc{}; }
  BITTERN_INLINE Acc first_sum(const std::uint32_t*) { return zero_acc(); }
  BITTERN_INLINE Floats::Acc floats(Acc x) { return __builtin_convertvector(x, Floats::Acc); }
  BITTERN_INLINE Acc add(Acc x, Acc y) { return x + y; }
  BITTERN_INLINE Acc multiply_add(Acc acc, Words a, Words b) {
#if defined(__SSE2__)
    return acc + reinterpret_cast<Acc>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
    const Acc x = reinterpret_cast<Acc>(a), y = reinterpret_cast<Acc>(b);
    return acc + (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
#endif
  }
  BITTERN_INLINE Acc load(const std::int32_t* p) {
    Acc x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  BITTERN_INLINE void store(std::int32_t* p, Acc x) {
    std::memcpy(p, &x, sizeof x);
  }
};

#include "ops/cpu/gemm/gemm_int8_template.h"

struct LoadWidened {
  using Lanes = PortableIntegers;
  using Stored = std::int8_t;
  static constexpr int per_word = 2;
  BITTERN_INLINE Lanes::Words along(const std::int8_t* p, int count = 8) {
    std::int16_t pairs[8] = {};
    for (int i = 0; i < 8 && i < count; ++i) pairs[i] = p[i];
    Lanes::Words words;
    std::memcpy(&words, pairs, sizeof words);
    return words;
  }
};

constexpr GemmKernels f32_kernels = make_float_kernels<PortableLanes, false>(Storage::f32);
constexpr GemmKernels bf16_kernels = make_float_kernels<PortableLanes, true>(std::nullopt);
constexpr GemmKernels int8_kernels = make_int8_kernels<LoadWidened, LoadWidened>();

}  // namespace

const GemmKernels& gemm_kernels_portable(DType compute) {
  return compute == DType::f32 ? f32_kernels : bf16_kernels;
}

const GemmKernels& gemm_int8_kernels_portable() {
  return int8_kernels;
}

}  // namespace bittern::cpu
