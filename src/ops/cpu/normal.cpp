// Fills memory with normally distributed values, on all threads of the pool.
#include "bittern/normal.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/cpu/machine/parallel.h"

namespace bittern {
namespace {

constexpr std::int64_t part_elements = 1 << 14;  // whole Philox blocks; some hundred microseconds

void fill_part(float* values, std::int64_t begin, std::int64_t end, double deviation, PhiloxKey key,
               std::uint32_t stream) {
  for (std::int64_t i = begin; i < end; i += 4) {
    const PhiloxBlock block = philox_block(key, static_cast<std::uint64_t>(i), 0, stream);
    for (int pair = 0; pair < 2; ++pair) {
      const double u1 = (static_cast<double>(block.word[2 * pair]) + 1.0) * 0x1p-32;
      const double u2 = static_cast<double>(block.word[2 * pair + 1]) * 0x1p-32;
      const double radius = std::sqrt(-2.0 * std::log(u1)) * deviation;
      const double angle = 2.0 * std::numbers::pi * u2;
      const std::int64_t at = i + 2 * pair;
      if (at < end) values[at] = static_cast<float>(radius * std::cos(angle));
      if (at + 1 < end) values[at + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

}  // namespace

void fill_normal(std::span<float> values, double deviation, PhiloxKey key, std::uint32_t stream) {
  const std::int64_t n = std::ssize(values);
  cpu::parallel_for((n + part_elements - 1) / part_elements, [&](std::int64_t part) {
    fill_part(values.data(), part * part_elements, std::min(n, (part + 1) * part_elements), deviation, key, stream);
  });
}

}  // namespace bittern
