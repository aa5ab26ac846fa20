// simd(body): runs a lambda whose plain loops were compiled for the instruction set in use (cpu_features.h).
//
//   simd([&] {
//     float sum = 0.0f;
//   #pragma omp simd reduction(+ : sum)
//     for (std::int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
//     out = sum;
//   });
//
// The lambda is inlined into one function per instruction set, each with its own target attribute, so its loops are
// vectorised for 512, 256 or the base target's bits. No file is compiled with -m flags: an inline function of a header
// can therefore never reach an old CPU in its AVX-512 form. A helper called from the lambda gets the wide form if it is
// inlined (small `inline` functions are); otherwise it runs in its plain form, which is slow but right. g++ inlines all
// that the lambda calls; clang needs [[gnu::always_inline]] on a large kernel that is called from two places.
//
// A body with a parameter, simd([&](auto fused) { ... }), is told at compile time (fused(): bool) whether a fused
// multiply-add is one instruction there; where it is not, std::fma is a call that would be fifty times slower.
//
// Call it around loops of some length (a row, a block of rows), inside parallel_for's body: it costs a call and a
// switch.
#pragma once

#include <type_traits>

#include "ops/cpu/machine/cpu_features.h"

namespace bittern::cpu {
namespace detail {

#ifdef __FP_FAST_FMAF
inline constexpr bool base_target_has_fma = true;
#else
inline constexpr bool base_target_has_fma = false;
#endif

template <bool fused, class F>
inline void call_body(F& body) {
  if constexpr (std::is_invocable_v<F&, std::bool_constant<fused>>)
    body(std::bool_constant<fused>{});
  else
    body();
}

template <class F>
[[gnu::noinline]] void simd_portable(F& body) {
  call_body<base_target_has_fma>(body);
}

#if defined(__x86_64__)
// clang decides the vector width from the loop; g++ must be told that 512 bits are welcome.
#if defined(__clang__)
#define BITTERN_PREFER_512
#else
#define BITTERN_PREFER_512 ",prefer-vector-width=512"
#endif
template <class F>
[[gnu::noinline, gnu::flatten, gnu::target("avx2,fma")]] void simd_avx2(F& body) {
  call_body<true>(body);
}
template <class F>
[[gnu::noinline, gnu::flatten, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma" BITTERN_PREFER_512)]] void
simd_avx512(F& body) {
  call_body<true>(body);
}
#undef BITTERN_PREFER_512
#endif

}  // namespace detail

template <class F>
void simd(F&& body) {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::portable:
      break;
    case Isa::avx2:
      return detail::simd_avx2(body);
    case Isa::avx512:
    case Isa::avx512_bf16:
    case Isa::amx_bf16:
      return detail::simd_avx512(body);
  }
#endif
  detail::simd_portable(body);
}

}  // namespace bittern::cpu
