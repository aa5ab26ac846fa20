// The attention kernels in plain vectors of four floats, for any machine.
#include "ops/cpu/attention/attention.h"

#define BITTERN_TARGET gnu::hot  // nothing beyond the compiler's base target

#include "ops/cpu/attention/attention_backward_tiles.h"
#include "ops/cpu/attention/attention_decode_tiles.h"
#include "ops/cpu/attention/attention_forward_tiles.h"

namespace bittern::cpu::attention {
namespace {

struct Portable {
  static constexpr std::int64_t width = 4, panel = 2 * width;
  static constexpr int row_rows = 6, column_rows = 6;  // 12 sums, 2 right operands, 1 left: 15 of 16 registers
  using V = float __attribute__((vector_size(16)));
  using I = std::int32_t __attribute__((vector_size(16)));

  static V zero() { return V{}; }
  static V set(float x) { return V{x, x, x, x}; }
  static V broadcast(const float* at) { return set(*at); }
  static V load(const float* at) {
    V x;
    memcpy(&x, at, sizeof x);
    return x;
  }
  static V load(const bf16* at) { return V{to_float(at[0]), to_float(at[1]), to_float(at[2]), to_float(at[3])}; }
  static void store(float* at, V x) { memcpy(at, &x, sizeof x); }
  static void store(bf16* at, V x) {
    for (int i = 0; i < width; ++i) at[i] = to_bf16(x[i]);
  }
  static V add(V a, V b) { return a + b; }
  static V sub(V a, V b) { return a - b; }
  static V mul(V a, V b) { return a * b; }
  static V div(V a, V b) { return a / b; }
  static V fma(V a, V b, V c) { return a * b + c; }
  /// The larger, the smaller; b if one is not a number, as on x86.
  static V max(V a, V b) { return a > b ? a : b; }
  static V min(V a, V b) { return a < b ? a : b; }
  static float sum(V x) { return (x[0] + x[1]) + (x[2] + x[3]); }
  /// Lanes from `first` on keep x, those before it get `other`.
  static V keep_from(std::int64_t first, V x, V other) {
    for (int i = 0; i < width; ++i)
      if (i < first) x[i] = other[i];
    return x;
  }
  static V bits_as_number(V x) {
    I bits;
    memcpy(&bits, &x, sizeof bits);
    return __builtin_convertvector(bits, V);
  }
  /// 2^x for x < 128; 0 below -126 (a NaN passes).
  static V exp2(V x) {
    const V bounded = max(set(-127.0f), x);
    const I truncated = __builtin_convertvector(bounded, I);
    const V guess = __builtin_convertvector(truncated, V);
    const I floor = truncated + (guess > bounded);  // true is -1
    const I power = (floor + 127) << 23;
    V scale;
    memcpy(&scale, &power, sizeof scale);
    return exp2_fraction<Portable>(bounded - __builtin_convertvector(floor, V)) * scale;
  }
  static void transpose(V (&block)[4]) {
    const V a = block[0], b = block[1], c = block[2], d = block[3];
    for (int r = 0; r < 4; ++r) block[r] = V{a[r], b[r], c[r], d[r]};
  }
};

template <class E>
Kernels kernels() {
  using M = Fma<Portable, E>;
  return {.lanes = {Portable::width, Portable::panel},
          .forward = forward<M>,
          .backward = backward<M>,
          .store_rows = store_rows<Portable, E>,
          .decode = decode<Portable, E>};
}

}  // namespace

Kernels portable_kernels(DType dtype) {
  return dtype == DType::bf16 ? kernels<bf16>() : kernels<float>();
}

}  // namespace bittern::cpu::attention
