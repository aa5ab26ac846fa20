// Products of 8-bit integers for all instruction sets, with gemm_template.h and like it: a Lanes here sums in 32 bits
// (first_sum, add, load and store of std::int32_t) and makes floats of the sums.
//
// VPDPBUSD multiplies unsigned bytes with signed ones. Where Lanes::unsigned_a, A is packed plus 128 (its sign bit
// flipped), and the sums of a panel of B begin at -128 times the sum of their column, which stands behind the panel.
// Sums may pass through 2^32 on the way: they are exact modulo 2^32, and the last one fits.
#include "ops/cpu/gemm/gemm_template.h"

/// Writes the first sums behind a panel of B.
template <class Lanes>
BITTERN_TARGET void seal_panel(std::uint32_t* panel, std::int64_t k_words) {
  constexpr std::uint32_t four_times_128 = 0x80808080u;
  const typename Lanes::Words all = Lanes::broadcast(&four_times_128);
  typename Lanes::Acc sums[2] = {Lanes::zero_acc(), Lanes::zero_acc()};
  for (std::int64_t p = 0; p < k_words; ++p, panel += 2 * Lanes::lanes)
    for (int v = 0; v < 2; ++v)
      sums[v] = Lanes::multiply_add(sums[v], all, Lanes::load_words(panel + v * Lanes::lanes));
  for (int v = 0; v < 2; ++v) Lanes::store_words(panel + v * Lanes::lanes, Lanes::negative(sums[v]));
}

template <class LoadA, class LoadB>
constexpr GemmKernels make_int8_kernels() {
  using Lanes = typename LoadB::Lanes;
  constexpr int mr = Lanes::mr, nr = 2 * Lanes::lanes;
  GemmKernels kernels{
      .mr = mr,
      .nr = nr,
      .lanes = Lanes::lanes,
      .k_per_word = LoadB::per_word,
      .row_step = 1,
      .k_step = 1,
      .max_k_words = 384,
      .min_part_rows = mr,
      .pack_a = {{{nullptr, nullptr, pack_along_k<LoadA, mr>}}},
      .pack_b = {{{nullptr, nullptr, pack_along_k<LoadB, nr>}}},
      .pack_scaled_a = {},
      .micro = {{{}, {}, microkernels<Lanes, std::int32_t>(std::make_integer_sequence<int, mr>())}},
      .as_stored = std::nullopt,
      .micro_unpacked = {},
      .finish = finish<typename Lanes::Floats, std::int32_t>,
      .widen = {},
      .gemv = {},
  };
  if constexpr (Lanes::unsigned_a) {
    kernels.seal = seal_panel<Lanes>;
    kernels.b_tail = nr;
  } else {
    kernels.widen[static_cast<int>(Storage::integer)] = widen_rows<LoadA>;
    kernels.gemv[static_cast<int>(Storage::integer)] = gemv_columns<LoadB>;
  }
  return kernels;
}
