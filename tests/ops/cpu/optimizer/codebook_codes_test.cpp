// codebook_codes and block_quantiles: on every instruction set what quant/codebook.h and quant/log_quantizer.h say.
#include "ops/cpu/optimizer/codebook_codes.h"

#include <limits>
#include <vector>

#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/philox.h"
#include "catch.h"
#include "ops/cpu/optimizer/block_quantiles.h"
#include "ops/every_isa.h"

using namespace bittern;
using namespace bittern::cpu;

namespace {

constexpr std::int64_t n = 1000;  // no multiple of a vector

std::uint32_t word(std::int64_t i, std::uint32_t stream) {
  return philox(philox_key(5, Purpose::test), static_cast<std::uint64_t>(i), 0, stream);
}

std::int32_t nearest(const Codebook& b, float x) {
  return b.bits == 2   ? nearest_code<2>(x, b.threshold)
         : b.bits == 3 ? nearest_code<3>(x, b.threshold)
         : b.bits == 4 ? nearest_code<4>(x, b.threshold)
                       : nearest_code<8>(x, b.threshold);
}

}  // namespace

TEST_CASE("codebook_codes: codes and values are those of the element math, of any book, size and value") {
  std::vector<float> x(n), out(n);
  std::vector<std::uint32_t> random(n);
  std::vector<std::uint8_t> codes(n);
  for (const Codebook& book : codebooks) {
    INFO(book.name);
    for (std::int64_t i = 0; i < n; ++i) {
      random[static_cast<std::size_t>(i)] = word(i, 1);
      const std::uint32_t w = word(i, 0), k = w % static_cast<std::uint32_t>(book.levels);
      // Levels, thresholds, and values of either sign, down to subnormal ones; twice, because `inverse` halves them.
      const float values[] = {book.level[k], k > 0 ? book.threshold[k] : 0.0f,
                              bits_float((w & 0x80000000u) | (word(i, 2) % 0x3f900000u))};
      x[static_cast<std::size_t>(i)] = 2 * values[i % 3];
    }
    x[17] = std::numeric_limits<float>::infinity();
    x[18] = -x[17];
    on_every_isa([&] {
      for (const std::int64_t count : {std::int64_t{1}, std::int64_t{15}, n}) {
        find_codes(book, x.data(), 0.5f, nullptr, count, codes.data());
        look_up(book.level, book.bits, codes.data(), 3.0f, count, out.data());
        std::int64_t wrong = 0;
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
          wrong += codes[i] != nearest(book, x[i] * 0.5f) || out[i] != book.level[codes[i]] * 3.0f;
        CHECK(wrong == 0);
        find_codes(book, x.data(), 0.5f, random.data(), count, codes.data());
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
          wrong +=
              codes[i] != stochastic_code(x[i] * 0.5f, nearest(book, x[i] * 0.5f), book.level, book.levels, random[i]);
        CHECK(wrong == 0);
      }
    });
  }
}

TEST_CASE("codebook_codes: wherever a row begins and ends, it is read and written to its last element and no further") {
  constexpr std::uint8_t outside = 0xaa;
  constexpr float outside_value = 77.0f;
  for (const Codebook& book : codebooks)
    for (const std::int64_t count : {1, 7, 8, 9, 15, 16, 17, 31})
      for (const std::int64_t first : {0, 3}) {
        INFO(book.name << ", " << count << " elements from " << first);
        // No element more than is read, so that a sanitizer sees who reads one.
        const auto size = static_cast<std::size_t>(first + count);
        std::vector<float> x(size);
        std::vector<std::uint32_t> random(size);
        for (std::size_t i = 0; i < size; ++i) {
          x[i] = uniform(word(static_cast<std::int64_t>(i), 4)) - (book.is_signed() ? 0.5f : 0.0f);
          random[i] = word(static_cast<std::int64_t>(i), 5);
        }
        on_every_isa([&] {
          for (const bool stochastic : {false, true}) {
            std::vector<std::uint8_t> codes(size + 64, outside);
            std::vector<float> out(size + 64, outside_value);
            find_codes(book, x.data() + first, 1.0f, stochastic ? random.data() + first : nullptr, count,
                       codes.data() + first);
            const std::vector<std::uint8_t> found(codes.begin() + first, codes.begin() + first + count);
            look_up(book.level, book.bits, found.data(), 1.0f, count, out.data() + first);
            std::int64_t wrong = 0;
            for (std::size_t i = 0; i < codes.size(); ++i) {
              const bool inside = i >= static_cast<std::size_t>(first) && i < size;
              const int code = !inside ? outside
                               : stochastic
                                   ? stochastic_code(x[i], nearest(book, x[i]), book.level, book.levels, random[i])
                                   : nearest(book, x[i]);
              wrong += codes[i] != code || out[i] != (inside ? book.level[code] : outside_value);
            }
            CHECK(wrong == 0);
          }
        });
      }
}

TEST_CASE("codebook_codes: the code nearest to a NaN is 0, of the tables of dynamic8 one of the ends; none is beyond") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Codebook& book : codebooks) {
    INFO(book.name);
    const bool by_table = book.name.starts_with("dynamic8");
    on_every_isa([&] {
      for (const std::int64_t count : {1, 8, 21}) {
        std::vector<float> x(static_cast<std::size_t>(count));
        std::vector<std::uint32_t> random(x.size());
        std::vector<std::uint8_t> codes(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
          x[i] = i % 2 == 0 ? nan : -nan;
          random[i] = word(static_cast<std::int64_t>(i), 6);
        }
        find_codes(book, x.data(), 1.0f, nullptr, count, codes.data());
        for (const std::uint8_t code : codes) CHECK((code == 0 || (by_table && code == book.levels - 1)));
        find_codes(book, x.data(), 1.0f, random.data(), count, codes.data());
        for (const std::uint8_t code : codes) CHECK(code < book.levels);
      }
    });
  }
}

TEST_CASE("block_quantiles: a block with a NaN of either sign is what quantile makes of it, and harms no other") {
  for (const std::int64_t size : {16, 100, 128})
    for (const float nan : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()})
      for (const std::int64_t nans : {std::int64_t{1}, size / 2, size}) {
        constexpr std::int64_t blocks = 9;
        std::vector<float> x(static_cast<std::size_t>(blocks * size)), out(blocks);
        for (std::int64_t i = 0; i < blocks * size; ++i)
          x[static_cast<std::size_t>(i)] = i / size % 2 == 0 && i % size < nans ? nan : uniform(word(i, 7));
        for (const float p : {0.0f, 0.1f, 0.9f, 1.0f})
          on_every_isa([&] {
            block_quantiles(x.data(), blocks, size, p, out.data());
            for (std::int64_t b = 0; b < blocks; ++b) {
              const float expected = quantile(x.data() + b * size, static_cast<std::int32_t>(size), p);
              const float got = out[static_cast<std::size_t>(b)];
              CHECK((got == expected || (got != got && expected != expected)));
              if (b % 2 == 1) CHECK(got == got);
            }
          });
      }
}

TEST_CASE("block_quantiles: each block's quantile, also of equal, zero, infinite and few elements") {
  for (const std::int64_t size : {1, 16, 100, 128}) {
    constexpr std::int64_t blocks = 9;
    std::vector<float> x(static_cast<std::size_t>(blocks * size)), out(blocks);
    for (std::int64_t i = 0; i < blocks * size; ++i) {
      const std::uint32_t w = word(i, 3);
      const float values[] = {uniform(w), bits_float(w % 0x7f800000u), static_cast<float>(w % 3), 0.25f,
                              w % 8 == 0 ? uniform(w) : 0.0f};
      x[static_cast<std::size_t>(i)] = values[i / size % 5];
    }
    for (const float p : {0.0f, 0.1f, 0.5f, 1.0f})
      on_every_isa([&] {
        block_quantiles(x.data(), blocks, size, p, out.data());
        for (std::int64_t b = 0; b < blocks; ++b)
          CHECK(out[static_cast<std::size_t>(b)] == quantile(x.data() + b * size, static_cast<std::int32_t>(size), p));
      });
  }
}
