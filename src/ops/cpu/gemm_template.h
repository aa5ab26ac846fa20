// The packers, the microkernel and the epilogue of gemm, written once for all instruction sets.
//
// gemm_portable|avx2|avx512|avx512_bf16|amx_bf16.cpp each define BITTERN_TARGET (the target attribute of every function
// here) and include this file inside an unnamed namespace, so that no wide copy can stand in for a plain one. They
// provide
//   Lanes:  a vector of `lanes` words or floats, and the tile: mr rows by 2 vectors
//   Load:   the only code that knows a storage type. along(p, count): `lanes` words of one line from p on, of which
//   `count`
//           elements exist. across(p, q, count, has_q): one word of each of `lanes` lines, of which `count` exist; k
//           lies in row p, and k + 1 in row q where a word is a pair. What does not exist is zero and is not read.

/// Lines with k inside: squares of lanes x lanes words are transposed in registers.
template <class Load, int width, int k_step = 1>
BITTERN_TARGET void pack_along_k(const PackJob& job) {
  using Lanes = typename Load::Lanes;
  constexpr int lanes = Lanes::lanes, per_word = Load::per_word;
  constexpr int group = width < lanes ? width : lanes;
  static_assert(k_step == 1 || k_step == lanes, "panels end with a whole square, or where k ends");
  const std::int64_t words = (job.k + k_step * per_word - 1) / (k_step * per_word) * k_step;
  const std::int64_t whole_words = job.k / per_word;
  for (std::int64_t line = 0; line < job.lines; line += group) {
    const auto* src = static_cast<const typename Load::Stored*>(job.src) + line * job.stride;
    std::uint32_t* dst = job.dst + line / width * job.panel_stride + line % width;
    const std::int64_t valid = job.lines - line < group ? job.lines - line : group;
    std::int64_t word = 0;
    for (; word + lanes <= whole_words; word += lanes) {
      typename Lanes::Words square[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i)
        square[i] = i < group && i < valid ? Load::along(src + i * job.stride + word * per_word) : Lanes::zero_words();
      Lanes::transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) Lanes::store_words(dst + (word + i) * width, square[i]);
    }
    if (word == words) continue;
    typename Lanes::Words square[lanes];
    for (int i = 0; i < lanes; ++i)
      square[i] = i < valid
                      ? Load::along(src + i * job.stride + word * per_word, static_cast<int>(job.k - word * per_word))
                      : Lanes::zero_words();
    Lanes::transpose(square);
    for (int i = 0; word < words; ++i, ++word) Lanes::store_words(dst + word * width, square[i]);
  }
}

/// Lines side by side. A few words at a time, so that neither the rows read nor the panels written are too many
/// streams.
template <class Load, int width, int k_step = 1>
BITTERN_TARGET void pack_across_k(const PackJob& job) {
  using Lanes = typename Load::Lanes;
  constexpr int lanes = Lanes::lanes, per_word = Load::per_word;
  constexpr int group = width < lanes ? width : lanes;
  constexpr std::int64_t words_at_once = 8;
  const std::int64_t some_words = (job.k + per_word - 1) / per_word, whole_words = job.k / per_word;
  const std::int64_t words = (some_words + k_step - 1) / k_step * k_step;  // the last of them are zero
  for (std::int64_t first = 0; first < words; first += words_at_once) {
    const std::int64_t end = first + words_at_once < words ? first + words_at_once : words;
    for (std::int64_t line = 0; line < job.lines; line += group) {
      const auto* src = static_cast<const typename Load::Stored*>(job.src) + line;
      std::uint32_t* dst = job.dst + line / width * job.panel_stride + line % width;
      const int count = job.lines - line < lanes ? static_cast<int>(job.lines - line) : lanes;
      for (std::int64_t word = first; word < end; ++word) {
        const auto* p = src + word * per_word * job.stride;
        if (word >= some_words) {
          Lanes::store_words(dst + word * width, Lanes::zero_words());
          continue;
        }
        const bool whole = word < whole_words;
        Lanes::store_words(dst + word * width, count == lanes && whole
                                                   ? Load::across(p, p + job.stride)
                                                   : Load::across(p, whole ? p + job.stride : p, count, whole));
      }
    }
  }
}

/// The heart: `rows` x `vectors` accumulators stay in registers over all of k. C is float or bf16. A is a panel, or
/// rows as they are stored; these are reached three from one pointer (+ 0, 1, 2 strides), which the address modes do
/// for nothing.
template <class Lanes, class C, int rows, int vectors, bool a_is_packed>
BITTERN_TARGET void microkernel(const MicroJob& job) {
  typename Lanes::Acc acc[rows][vectors];
  const std::int64_t k_words = job.k_words, a_stride = job.a_stride, tile_stride = job.tile_stride;
  const void* const a = job.a;
  const std::uint32_t* b = job.b;
  C* const c = static_cast<C*>(job.tile);
  const bool add = job.add;
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      acc[i][v] = Lanes::zero_acc();
      __builtin_prefetch(job.result + i * job.result_stride + v * Lanes::lanes * static_cast<int>(sizeof(C)), 1);
    }
  const std::int64_t step = a_is_packed ? 4 * Lanes::mr : 4, row_step = a_is_packed ? 4 : a_stride;
  const char* three_rows[(rows + 2) / 3];
#pragma GCC unroll 16
  for (int i = 0; i < rows; i += 3) three_rows[i / 3] = static_cast<const char*>(a) + i * row_step;
  for (std::int64_t p = 0; p < k_words; ++p, b += 2 * Lanes::lanes) {
    typename Lanes::Words column[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) column[v] = Lanes::load_words(b + v * Lanes::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const typename Lanes::Words row = Lanes::broadcast(three_rows[i / 3] + i % 3 * row_step);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) acc[i][v] = Lanes::multiply_add(acc[i][v], row, column[v]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i += 3) three_rows[i / 3] += step;
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      C* const to = c + i * tile_stride + v * Lanes::lanes;
      Lanes::store(to, add ? Lanes::add(Lanes::load(to), acc[i][v]) : acc[i][v]);
    }
}

/// A vector of columns from column j on, whole or not.
template <class Lanes, class C, bool whole>
BITTERN_TARGET void finish_columns(const FinishJob& job, int j) {
  const int count = whole ? Lanes::lanes : static_cast<int>(job.cols) - j;
  const bool add = job.add, has_bias = job.bias != nullptr;
  const typename Lanes::Acc col_scale =
      job.col_scales == nullptr ? Lanes::all(1.0f) : Lanes::load(job.col_scales + j, count);
  const typename Lanes::Acc bias = has_bias ? Lanes::load(job.bias + j, count) : Lanes::zero_acc();
  C* c = static_cast<C*>(job.c) + j;
  for (std::int64_t i = 0; i < job.rows; ++i, c += job.c_stride) {
    const float factor = job.row_scales == nullptr ? job.alpha : job.alpha * job.row_scales[i];
    typename Lanes::Acc x = Lanes::multiply(Lanes::load(job.tile + i * job.tile_stride + j), Lanes::all(factor));
    x = Lanes::multiply(x, col_scale);
    if (add) x = Lanes::add(x, Lanes::load(c, count));
    if (has_bias) x = Lanes::add(x, bias);
    Lanes::store(c, x, count);
  }
}

template <class Lanes, class C>
BITTERN_TARGET void finish_as(const FinishJob& job) {
  int j = 0;
  for (; j + Lanes::lanes <= job.cols; j += Lanes::lanes) finish_columns<Lanes, C, true>(job, j);
  if (j < job.cols) finish_columns<Lanes, C, false>(job, j);
}

template <class Lanes>
BITTERN_TARGET void finish(const FinishJob& job) {
  if (job.c_dtype == DType::f32)
    finish_as<Lanes, float>(job);
  else
    finish_as<Lanes, bf16>(job);
}

#include "ops/cpu/gemv_template.h"

template <class Lanes, class C, int... row>
constexpr MicroTable microkernels(std::integer_sequence<int, row...>) {
  MicroTable table{};
  ((table[row] = {microkernel<Lanes, C, row + 1, 1, true>, microkernel<Lanes, C, row + 1, 2, true>}), ...);
  return table;
}

/// The table of one instruction set and compute type; LoadF32 and LoadBf16 turn each storage type into its words.
/// `as_stored` is the storage type that needs no turning.
template <class Lanes, class LoadF32, class LoadBf16>
constexpr GemmKernels make_kernels(std::optional<Storage> as_stored) {
  constexpr int mr = Lanes::mr, nr = 2 * Lanes::lanes;
  static_assert(mr <= max_mr && nr <= max_nr);
  return GemmKernels{
      .mr = mr,
      .nr = nr,
      .lanes = Lanes::lanes,
      .k_per_word = LoadF32::per_word,
      .row_step = 1,
      .k_step = 1,
      .max_k_words = 384,  // 1024 is 6 % slower in wgrad, 256 adds to C too often (gemm_bench, Zen 4)
      .min_part_rows = mr,
      .pack_a = {{{pack_along_k<LoadF32, mr>, pack_along_k<LoadBf16, mr>},
                  {pack_across_k<LoadF32, mr>, pack_across_k<LoadBf16, mr>}}},
      .pack_b = {{{pack_along_k<LoadF32, nr>, pack_along_k<LoadBf16, nr>},
                  {pack_across_k<LoadF32, nr>, pack_across_k<LoadBf16, nr>}}},
      .micro = {microkernels<Lanes, float>(std::make_integer_sequence<int, mr>()),
                microkernels<Lanes, bf16>(std::make_integer_sequence<int, mr>())},
      .as_stored = as_stored,
      .micro_unpacked = {{{microkernel<Lanes, float, mr, 1, false>, microkernel<Lanes, float, mr, 2, false>},
                          {microkernel<Lanes, bf16, mr, 1, false>, microkernel<Lanes, bf16, mr, 2, false>}}},
      .finish = finish<Lanes>,
      .widen = {widen_rows<LoadF32>, widen_rows<LoadBf16>},
      .gemv = {gemv_columns<LoadF32>, gemv_columns<LoadBf16>},
  };
}
