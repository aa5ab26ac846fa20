// Where stochastic rounding is biased, codec by codec: it is unbiased between its lowest and its highest level, and
// outside them it cannot be. Two of these places matter. A grid that is clipped pulls large values in. A codec of second
// moments without a zero pushes small ones up, which is its purpose: a zero would be divided by.
#include "bittern/quant/codebook.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/state_codec.h"
#include "catch.h"
#include "quant/rounding_support.h"

using namespace bittern;

namespace {

template <int Bits>
std::int32_t stochastic_of(const Codebook& book, float x, std::uint32_t word) {
  return stochastic_code<Bits>(x, book.level, book.levels, word);
}
std::int32_t code_of(const Codebook& book, float x, std::uint32_t word) {
  switch (book.bits) {
    case 2:
      return stochastic_of<2>(book, x, word);
    case 3:
      return stochastic_of<3>(book, x, word);
    case 4:
      return stochastic_of<4>(book, x, word);
    default:
      return stochastic_code(x, nearest_code<8>(x, book.threshold), book.level, book.levels, word);
  }
}

/// E of the decoded value over all words: between two levels, by how many words take the upper one.
double expectation(const Codebook& book, float x) {
  const std::int32_t up = code_of(book, x, 0u), down = code_of(book, x, ~0u);
  const std::uint64_t words = count_words([&](std::uint32_t word) { return code_of(book, x, word) == up; });
  const double p = up == down ? 1.0 : static_cast<double>(words) * 0x1p-32;
  return p * static_cast<double>(book.level[up]) + (1 - p) * static_cast<double>(book.level[down]);
}

/// The lowest level of the second moment's codecs, from their definitions: 10^-E times the first of 2^F cells of
/// [0.1, 1] for the dynamic exponent, E = bits - 1, F = 0; 1 / 2^bits for the linear map; 0 where there is a zero.
struct Lowest {
  const char* codec;
  double level;
};
const Lowest second_moment_codecs[] = {{"dynamic8", 0},
                                       {"de4", 0},
                                       {"de3", 0},
                                       {"de2", 0},
                                       {"de4_no_zero", 0.00325},
                                       {"de3_no_zero", 0.0325},
                                       {"de2_no_zero", 0.325},
                                       {"sqrt8", 0},
                                       {"zip_de4", 0},
                                       {"linear8", 1.0 / 256},
                                       {"linear4", 1.0 / 16},
                                       {"linear3", 1.0 / 8},
                                       {"linear2", 1.0 / 4}};

}  // namespace

TEST_CASE(
    "rounding bias: a codec of second moments without a zero lifts all below its lowest level, one with a zero none") {
  std::size_t compared = 0;
  for (const StateCodecInfo& codec : state_codec_table)
    compared += codec.kind == StateKind::codebook && codec.for_second_moment;
  CHECK(compared == std::size(second_moment_codecs));  // no codec is left out
  for (const auto& [name, lowest] : second_moment_codecs) {
    CAPTURE(name);
    const Codebook& book = *find_codebook(find_state_codec(name)->unsigned_codebook);
    CHECK(static_cast<double>(book.level[0]) == Approx(lowest).epsilon(1e-6));
    for (const double part : {0.0, 1e-6, 0.1, 0.5, 0.99}) {
      const double step = lowest > 0 ? lowest : static_cast<double>(book.level[1]);
      const auto x = static_cast<float>(part * step);
      if (lowest > 0) {
        CHECK(expectation(book, x) == static_cast<double>(book.level[0]));  // biased upwards, and never 0
        CHECK(code_of(book, x, 0u) == 0);
        CHECK(code_of(book, x, ~0u) == 0);
      } else {
        CHECK(std::fabs(expectation(book, x) - static_cast<double>(x)) < 1e-8);  // unbiased, and often 0
        CHECK(code_of(book, x, ~0u) == 0);
      }
    }
  }
}

TEST_CASE("rounding bias: SOLO's levels lift all below the quantile to it, and have no zero") {
  for (const int bits : {2, 3, 4}) {
    const LogBlock block = log_block(0.91f, 0.08f, bits);
    const LogEncoder encoder = log_encoder(block, bits);
    float level[16];
    log_levels(block.alpha, bits, level);
    const std::int32_t last = (1 << bits) - 1;
    CHECK(static_cast<double>(log_decode(last, level, block.delta)) == Approx(0.08).epsilon(1e-5));
    for (const float x : {0.0f, 1e-20f, 0.01f, 0.079f})
      for (const std::uint32_t word : {0u, 0x80000000u, ~0u}) CHECK(log_stochastic(x, encoder, word) == last);
  }
}

TEST_CASE("rounding bias: signed maps without a zero round 0 to either side alike, and those with one keep it") {
  for (const char* name : {"linear2_signed", "linear3_signed", "linear4_signed", "linear8_signed"})
    CHECK(std::fabs(expectation(*find_codebook(name), 0.0f)) < 1e-8);
  for (const char* name : {"de2", "de3", "de4", "dynamic8"}) {
    const Codebook& book = *find_codebook(name);
    for (const std::uint32_t word : {0u, ~0u}) CHECK(book.level[code_of(book, 0.0f, word)] == 0.0f);
    // -1 is no level: a negative peak shrinks to the lowest one, for every word.
    for (const std::uint32_t word : {0u, ~0u}) CHECK(code_of(book, -1.0f, word) == 0);
    CHECK(book.level[0] > -1.0f);
  }
}

TEST_CASE("rounding bias: a grid pulls what lies beyond its ends in, and is unbiased up to them") {
  for (const auto& [lowest, highest] : {std::pair{-1, 1}, {-7, 7}, {-8, 7}, {-128, 127}})
    for (const std::uint32_t word : {0u, ~0u}) {
      CHECK(round_stochastic_to_grid(static_cast<float>(highest) + 0.4f, lowest, highest, word) == highest);
      CHECK(round_stochastic_to_grid(static_cast<float>(lowest) - 0.4f, lowest, highest, word) == lowest);
      CHECK(e4m3_to_float(to_e4m3_stochastic(460.0f, word)) == 448.0f);
    }
  const std::uint64_t words =
      count_words([](std::uint32_t word) { return round_stochastic_to_grid(126.25f, -128, 127, word) == 127; });
  CHECK(words == std::uint64_t{1} << 30);
}
