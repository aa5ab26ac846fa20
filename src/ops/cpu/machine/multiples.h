// Whole multiples: how many steps cover a size, and how large they are together.
#pragma once

#include <cstdint>

namespace bittern::cpu {

constexpr std::int64_t ceil_div(std::int64_t x, std::int64_t step) {
  return (x + step - 1) / step;
}
constexpr std::int64_t round_up(std::int64_t x, std::int64_t step) {
  return ceil_div(x, step) * step;
}

}  // namespace bittern::cpu
