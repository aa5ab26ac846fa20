// codebook: 2^b ascending levels in [-1, 1] for the values of a block that was divided by its largest magnitude; the
// code is a level's index. Every table is made here from its definition.
//
// Dynamic exponent (Dettmers et al. 2022; Li et al. 2023, appendix E.2): E leading zeros, an indicator bit, F fraction
// bits, where E = 0 .. b - 2 and F = b - 1 - E, or b - 2 - E when signed. A level is 10^-E times the middle of one of
// 2^F equal parts of [0.1, 1], or the negative of that when signed; besides, 0 and +1 are levels. So -1 is none: a
// block whose largest magnitude is negative shrinks it (by 11 % with four bits), as the published methods do.
//
// Linear, unsigned (Li et al. 2023): (i + 1) / 2^b. No zero: a second moment must never become one. Linear, signed (the
// baseline of SOLO, Xu et al. 2025): 2^b evenly spaced levels from -1 to 1, and so no zero either.
//
// Companded (FlashOptim, arXiv 2602.23349): evenly spaced after a function that spreads small values. softsign8, for
// signed values: y = 2x / (1 + |x|), 255 levels, so the last code is never made. sqrt8, for values >= 0: y = sqrt(x).
// The paper rounds y to the nearest; here x goes to the nearest level, so a value between two levels may take the other
// one where it is within 1/8 of a gap of their middle or nearer.
//
// NF4 (Dettmers et al. 2023, QLoRA, appendix E): levels equally likely under a normal distribution, both ends included.
//
// Values beyond the ends take the end: 0 becomes the lowest level where there is no zero, and so is biased upwards. A
// value exactly between two levels goes to the upper one, as in torchao and SOLO; the code of Li et al. takes the lower
// one. Not one in a million of their moments is such a value, so one rule serves all.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>

#include "bittern/host_device.h"
#include "bittern/quant/stochastic.h"

namespace bittern {

// ---- Encoding and decoding. Plain pointers, so that a kernel may keep the tables where it likes.

/// The code of the nearest level. threshold[k] is the smallest float that belongs to code k (k >= 1). Four bits and
/// less count thresholds, which vectorises; more search. A NaN becomes 0.
template <int Bits>
BITTERN_HD std::int32_t nearest_code(float x, const float* threshold) {
  std::int32_t code = 0;
  if constexpr (Bits <= 4) {
    for (int k = 1; k < 1 << Bits; ++k) code += static_cast<std::int32_t>(x >= threshold[k]);
  } else {
    for (int step = 1 << (Bits - 1); step > 0; step /= 2) code += x >= threshold[code + step] ? step : 0;
  }
  return code;
}

namespace codebook_detail {

/// `lower` or the code after it, if x lies between the levels `below` and `above` of these codes.
BITTERN_HD std::int32_t up_or_down(float x, std::int32_t lower, float below, float above, std::int32_t last,
                                   std::uint32_t random) {
  const std::int32_t code = lower + static_cast<std::int32_t>(chance((x - below) / (above - below), random));
  return code < last ? code : last;  // at the last level below == above, and the quotient says nothing
}

}  // namespace codebook_detail

/// The code of one of the two levels beside x: E = x between the lowest and the highest level; a level never moves.
/// Uses all 32 bits of the uniform word `random`. Four bits and less find the levels by comparing with all.
template <int Bits>
BITTERN_HD std::int32_t stochastic_code(float x, const float* level, std::int32_t levels, std::uint32_t random) {
  static_assert(Bits <= 4, "with more levels, give the nearest code");
  constexpr int end = (1 << Bits) - 1;
  std::int32_t lower = 0;
  float below = level[0], above = level[1];
  for (int k = 1; k <= end; ++k) {
    const bool reached = x >= level[k];
    lower += static_cast<std::int32_t>(reached);
    below = reached ? level[k] : below;
    above = reached ? level[k < end ? k + 1 : k] : above;
  }
  return codebook_detail::up_or_down(x, lower, below, above, levels - 1, random);
}

/// The same, given the code of the nearest level.
BITTERN_HD std::int32_t stochastic_code(float x, std::int32_t nearest, const float* level, std::int32_t levels,
                                        std::uint32_t random) {
  const std::int32_t below = nearest - static_cast<std::int32_t>(x < level[nearest]), last = levels - 1;
  const std::int32_t lower = below > 0 ? below : 0, upper = lower < last ? lower + 1 : last;
  return codebook_detail::up_or_down(x, lower, level[lower], level[upper], last, random);
}

// ---- The tables.

template <int Bits>
struct CodebookTable {
  std::int32_t levels = 0;
  float level[1 << Bits] = {};  // after the last level: the last again
  float threshold[1 << Bits] = {};
};

namespace codebook_detail {

/// The smallest float that is at least as near to `above` as to `below`. The sum of two neighbouring levels is exact in
/// double precision.
constexpr float threshold(float below, float above) {
  const double middle = (static_cast<double>(below) + static_cast<double>(above)) / 2;
  const auto rounded = static_cast<float>(middle);
  if (rounded >= middle) return rounded;
  const auto bits = std::bit_cast<std::uint32_t>(rounded);
  return std::bit_cast<float>(rounded > 0 ? bits + 1 : rounded < 0 ? bits - 1 : 1u);
}

template <int Bits>
struct LevelList {
  double value[1 << Bits] = {};
  int count = 0;
  constexpr void add(double x) { value[count++] = x; }
};

template <int Bits>
constexpr CodebookTable<Bits> make_table(LevelList<Bits> list) {
  constexpr float never = std::numeric_limits<float>::quiet_NaN();  // no x is >= NaN
  std::sort(list.value, list.value + list.count);
  CodebookTable<Bits> table;
  table.levels = list.count;
  for (int k = 0; k < 1 << Bits; ++k) {
    const bool exists = k < list.count;
    table.level[k] = static_cast<float>(list.value[exists ? k : list.count - 1]);
    if (k == 0)
      table.threshold[k] = -std::numeric_limits<float>::infinity();
    else
      table.threshold[k] = exists ? threshold(table.level[k - 1], table.level[k]) : never;
  }
  return table;
}

template <int Bits>
constexpr CodebookTable<Bits> make_dynamic_exponent(bool is_signed, bool has_zero) {
  LevelList<Bits> list;
  double power = 1;  // 10^E
  for (int zeros = 0; zeros <= Bits - 2; ++zeros, power *= 10) {
    const int parts = 1 << (Bits - 1 - zeros - (is_signed ? 1 : 0));
    for (int k = 0; k < parts; ++k) {
      const double middle =
          (2 * parts + 9 * (2 * k + 1)) / (20 * parts * power);  // (0.1 + 0.9 (k + 1/2) / parts) / power
      list.add(middle);
      if (is_signed) list.add(-middle);
    }
  }
  if (has_zero) list.add(0);
  list.add(1);
  return make_table(list);
}

template <int Bits>
constexpr CodebookTable<Bits> make_linear(bool is_signed) {
  constexpr int levels = 1 << Bits;
  LevelList<Bits> list;
  for (int i = 0; i < levels; ++i)
    list.add(is_signed ? -1.0 + 2.0 * i / (levels - 1) : static_cast<double>(i + 1) / levels);
  return make_table(list);
}

constexpr CodebookTable<8> make_softsign() {
  LevelList<8> list;
  for (int code = -127; code <= 127; ++code) {
    const double y = code / 127.0;
    list.add(y / (2 - (y < 0 ? -y : y)));
  }
  return make_table(list);
}

constexpr CodebookTable<8> make_square_root() {
  LevelList<8> list;
  for (int code = 0; code <= 255; ++code) list.add(code / 255.0 * (code / 255.0));
  return make_table(list);
}

constexpr CodebookTable<4> make_nf4() {
  LevelList<4> list;
  for (const double level :
       {-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
        0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0})
    list.add(level);
  return make_table(list);
}

}  // namespace codebook_detail

template <int Bits, bool Signed, bool HasZero>
inline constexpr CodebookTable<Bits> dynamic_exponent = codebook_detail::make_dynamic_exponent<Bits>(Signed, HasZero);
template <int Bits, bool Signed>
inline constexpr CodebookTable<Bits> linear = codebook_detail::make_linear<Bits>(Signed);
inline constexpr CodebookTable<8> softsign8 = codebook_detail::make_softsign();
inline constexpr CodebookTable<8> sqrt8 = codebook_detail::make_square_root();
inline constexpr CodebookTable<4> nf4 = codebook_detail::make_nf4();

/// A codebook by name.
struct Codebook {
  std::string_view name;
  int bits;
  std::int32_t levels;     // 2^bits, or one less: the last code is then never made
  const float* level;      // (2^bits)
  const float* threshold;  // (2^bits)

  constexpr bool is_signed() const { return level[0] < 0; }
  constexpr bool has_zero() const { return std::find(level, level + levels, 0.0f) != level + levels; }
};

namespace codebook_detail {

template <int Bits>
constexpr Codebook named(std::string_view name, const CodebookTable<Bits>& table) {
  return {name, Bits, table.levels, table.level, table.threshold};
}

}  // namespace codebook_detail

inline constexpr Codebook codebooks[] = {
    codebook_detail::named("de2", dynamic_exponent<2, true, true>),
    codebook_detail::named("de3", dynamic_exponent<3, true, true>),
    codebook_detail::named("de4", dynamic_exponent<4, true, true>),
    codebook_detail::named("de2_unsigned", dynamic_exponent<2, false, true>),
    codebook_detail::named("de3_unsigned", dynamic_exponent<3, false, true>),
    codebook_detail::named("de4_unsigned", dynamic_exponent<4, false, true>),
    codebook_detail::named("de2_unsigned_no_zero", dynamic_exponent<2, false, false>),
    codebook_detail::named("de3_unsigned_no_zero", dynamic_exponent<3, false, false>),
    codebook_detail::named("de4_unsigned_no_zero", dynamic_exponent<4, false, false>),
    codebook_detail::named("dynamic8", dynamic_exponent<8, true, true>),
    codebook_detail::named("dynamic8_unsigned", dynamic_exponent<8, false, true>),
    codebook_detail::named("linear2", linear<2, false>),
    codebook_detail::named("linear3", linear<3, false>),
    codebook_detail::named("linear4", linear<4, false>),
    codebook_detail::named("linear8", linear<8, false>),
    codebook_detail::named("linear2_signed", linear<2, true>),
    codebook_detail::named("linear3_signed", linear<3, true>),
    codebook_detail::named("linear4_signed", linear<4, true>),
    codebook_detail::named("linear8_signed", linear<8, true>),
    codebook_detail::named("softsign8", softsign8),
    codebook_detail::named("sqrt8", sqrt8),
    codebook_detail::named("nf4", nf4),
};

/// The codebook of that name, or none.
constexpr const Codebook* find_codebook(std::string_view name) {
  for (const Codebook& book : codebooks)
    if (book.name == name) return &book;
  return nullptr;
}

}  // namespace bittern
