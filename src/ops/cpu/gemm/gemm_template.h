// The packers, the microkernel and the epilogue of gemm, written once for all instruction sets.
//
// The file of each instruction set (gemm_portable.cpp and so on, gemm_kernels.h) defines BITTERN_TARGET, the target
// attribute of every function here, and includes this file inside an unnamed namespace. Without that namespace the
// linker could keep one copy of a function for all files, and run AVX-512 code on a CPU without it. The including file
// provides
//   Lanes:  a vector of `lanes` words or floats. A tile has at most mr rows and 2 vectors of columns.
//   Load:   the only code that knows a storage type. It has two functions that return a vector of words:
//           along(p, count)             the words of one line, from p on. `count` elements exist there.
//           across(p, q, count, has_q)  one word of each of `lanes` neighbouring lines. `count` lines exist. Row p has
//                                       element k of the lines. If a word is a pair, row q has element k + 1, and
//                                       has_q says whether that row exists.
//           What does not exist is not read; the words have zeros there. A Load with scales along k multiplies these
//           zeros by a scale too, which may make a NaN of them if the scale is not finite.

/// A Load that multiplies elements by scales along k. It has along(p, count, scales) and
/// across(p, q, count, has_q, scale of row p, scale of row q).
template <class Load>
concept ScalesK = requires {
  Load::scales_k;
};

/// The words of a line from p on, where its k-th element is. `count` elements exist there.
template <class Load>
BITTERN_INLINE typename Load::Lanes::Words load_along(const PackJob& job, const typename Load::Stored* p,
                                                      std::int64_t k, int count) {
  if constexpr (ScalesK<Load>)
    return Load::along(p, count, job.k_scales + k);
  else
    return Load::along(p, count);
}

/// One word of each of `count` neighbouring lines. p is at their k-th element. If a word is a pair, the (k + 1)-th is a
/// row further, and `has_next` says whether that row exists.
template <class Load>
BITTERN_INLINE typename Load::Lanes::Words load_across(const PackJob& job, const typename Load::Stored* p,
                                                       std::int64_t k, int count, bool has_next) {
  const auto* next = has_next ? p + job.stride : p;
  if constexpr (ScalesK<Load>)
    return Load::across(p, next, count, has_next, job.k_scales[k], has_next ? job.k_scales[k + 1] : 0.0f);
  else
    return Load::across(p, next, count, has_next);
}

/// The Load of instruction sets whose words are floats. `rounds`: f32 elements are rounded to bf16 first.
template <class L, class T, bool rounds>
struct LoadFloats {
  using Lanes = L;
  using Stored = T;
  static constexpr int per_word = 1;
  BITTERN_INLINE typename L::Words along(const T* p, int count = L::lanes) {
    const typename L::Acc x = L::load(p, count);
    if constexpr (rounds && sizeof(T) == 4)
      return L::rounded_words(x);
    else
      return L::words(x);
  }
  BITTERN_INLINE typename L::Words across(const T* p, const T*, int count = L::lanes, bool = true) {
    return along(p, count);
  }
};
template <class L, class T, bool rounds>
struct LoadScaledFloats {
  using Lanes = L;
  using Stored = T;
  static constexpr int per_word = 1;
  static constexpr bool scales_k = true;
  BITTERN_INLINE typename L::Words along(const T* p, int count, const float* scales) {
    return words(L::multiply(L::load(p, count), L::load(scales, count)));
  }
  BITTERN_INLINE typename L::Words across(const T* p, const T*, int count, bool, float scale, float) {
    return words(L::multiply(L::load(p, count), L::all(scale)));
  }
  BITTERN_INLINE typename L::Words words(typename L::Acc x) {
    if constexpr (rounds)
      return L::rounded_words(x);
    else
      return L::words(x);
  }
};

/// Packs lines whose elements are neighbours (Layout::along_k). It transposes squares of lanes x lanes words in registers.
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
        square[i] = i < group && i < valid ? load_along<Load>(job, src + i * job.stride + word * per_word,
                                                              word * per_word, lanes * per_word)
                                           : Lanes::zero_words();
      Lanes::transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) Lanes::store_words(dst + (word + i) * width, square[i]);
    }
    if (word == words) continue;
    typename Lanes::Words square[lanes];
    for (int i = 0; i < lanes; ++i)
      square[i] = i < valid ? load_along<Load>(job, src + i * job.stride + word * per_word, word * per_word,
                                               static_cast<int>(job.k - word * per_word))
                            : Lanes::zero_words();
    Lanes::transpose(square);
    for (int i = 0; word < words; ++i, ++word) Lanes::store_words(dst + word * width, square[i]);
  }
}

/// Packs lines that are neighbours (Layout::across_k). It goes a few words along k at a time: so it reads few rows at once
/// and writes few panels at once, and the CPU can prefetch them all.
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
        const std::int64_t k = word * per_word;
        Lanes::store_words(dst + word * width, count == lanes && whole ? load_across<Load>(job, p, k, lanes, true)
                                                                       : load_across<Load>(job, p, k, count, whole));
      }
    }
  }
}

/// The innermost loop of the product. `rows` x `vectors` accumulators stay in registers over all of k. C is float or
/// bf16. A is a packed panel, or rows as they are stored. One pointer serves three stored rows (+ 0, 1, 2 strides): x86
/// addresses can add an index times 1 or 2, so this costs no instruction.
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
      acc[i][v] = Lanes::first_sum(b + (k_words * 2 + v) * Lanes::lanes);
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

/// Finishes the columns from j on: one vector of them, or two. `whole`: all their columns exist; two always do.
template <class Lanes, class Tile, class C, int vectors, bool whole>
BITTERN_TARGET void finish_columns(const FinishJob& job, int j) {
  constexpr int lanes = Lanes::lanes;
  const int count = whole ? lanes : static_cast<int>(job.cols) - j;
  const bool add = job.add, has_bias = job.bias != nullptr;
  typename Lanes::Acc col_scale[vectors], bias[vectors];
  for (int v = 0; v < vectors; ++v) {
    col_scale[v] = job.col_scales == nullptr ? Lanes::all(1.0f) : Lanes::load(job.col_scales + j + v * lanes, count);
    bias[v] = has_bias ? Lanes::load(job.bias + j + v * lanes, count) : Lanes::zero_acc();
  }
  C* c = static_cast<C*>(job.c) + j;
  const Tile* tile = static_cast<const Tile*>(job.tile) + j;
  for (std::int64_t i = 0; i < job.rows; ++i, c += job.c_stride, tile += job.tile_stride) {
    const auto factor = Lanes::all(job.row_scales == nullptr ? job.alpha : job.alpha * job.row_scales[i]);
    typename Lanes::Acc x[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      x[v] = Lanes::multiply(Lanes::multiply(Lanes::load(tile + v * lanes), factor), col_scale[v]);
      if (add) x[v] = Lanes::add(x[v], Lanes::load(c + v * lanes, count));
      if (has_bias) x[v] = Lanes::add(x[v], bias[v]);
      if constexpr (vectors == 1) Lanes::store(c, x[v], count);
    }
    if constexpr (vectors == 2) Lanes::store_two(c, x[0], x[1]);
  }
}

/// Finishes a tile whose C has elements of type C. A tile has at most two vectors of columns.
template <class Lanes, class Tile, class C>
BITTERN_TARGET void finish_as(const FinishJob& job) {
  if (job.cols == 2 * Lanes::lanes) return finish_columns<Lanes, Tile, C, 2, true>(job, 0);
  int j = 0;
  if (job.cols >= Lanes::lanes) finish_columns<Lanes, Tile, C, 1, true>(job, 0), j = Lanes::lanes;
  if (j < job.cols) finish_columns<Lanes, Tile, C, 1, false>(job, j);
}

template <class Lanes, class Tile = float>
BITTERN_TARGET void finish(const FinishJob& job) {
  if (job.c_dtype == DType::f32)
    finish_as<Lanes, Tile, float>(job);
  else
    finish_as<Lanes, Tile, bf16>(job);
}

#include "ops/cpu/gemm/gemv_template.h"

template <class Lanes, class C, int... row>
constexpr MicroTable microkernels(std::integer_sequence<int, row...>) {
  MicroTable table{};
  ((table[row] = {microkernel<Lanes, C, row + 1, 1, true>, microkernel<Lanes, C, row + 1, 2, true>}), ...);
  return table;
}

/// The kernels of one instruction set and compute type. LoadF32 and LoadBf16 turn stored f32 and bf16 into words;
/// ScaledF32 and ScaledBf16 also multiply by scales along k. as_stored: see GemmKernels.
template <class Lanes, class LoadF32, class LoadBf16, class ScaledF32, class ScaledBf16>
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
      .pack_scaled_a = {{{pack_along_k<ScaledF32, mr>, pack_along_k<ScaledBf16, mr>},
                         {pack_across_k<ScaledF32, mr>, pack_across_k<ScaledBf16, mr>}}},
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

template <class Lanes, bool rounds>
constexpr GemmKernels make_float_kernels(std::optional<Storage> as_stored) {
  return make_kernels<Lanes, LoadFloats<Lanes, float, rounds>, LoadFloats<Lanes, bf16, rounds>,
                      LoadScaledFloats<Lanes, float, rounds>, LoadScaledFloats<Lanes, bf16, rounds>>(as_stored);
}
