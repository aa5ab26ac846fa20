// square_parts: parts[j] = sum of squares of the j-th part of rows, over all gradients, in double
//   OVERWRITES parts. Reads the gradients: memory-bound. A part is consecutive rows, hence consecutive elements, which
//   lane_sum adds in an order fixed by their number. Nothing overflows that is finite as a float, and any NaN or
//   infinity shows in its part.
#include <cstdint>
#include <vector>

#include "bittern/row_parts.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/parallel.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

struct Part {
  const float* first;
  std::int64_t count;
};

std::vector<Part> parts_of(std::span<const Tensor> gradients) {
  std::vector<Part> all;
  for (const Tensor& gradient : gradients) {
    const std::int64_t rows = gradient.rows(), cols = gradient.cols(), parts = row_parts(rows);
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = part_begin(rows, parts, part), last = part_begin(rows, parts, part + 1);
      all.push_back({gradient.as<float>() + first * cols, (last - first) * cols});
    }
  }
  return all;
}

}  // namespace

void CpuBackend::do_square_parts(const SquareParts& args) {
  const std::vector<Part> all = parts_of(args.gradients);
  auto* const sums = reinterpret_cast<double*>(args.parts.as<std::uint8_t>());
  parallel_for(static_cast<std::int64_t>(all.size()), [&](std::int64_t j) {
    const auto [x, count] = all[static_cast<std::size_t>(j)];
    simd([=] { sums[j] = lane_sum<double>(count, [=](std::int64_t i) { return static_cast<double>(x[i]) * x[i]; }); });
  });
}

}  // namespace bittern::cpu
