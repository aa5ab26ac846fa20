// State kind `factored`: v[i, j] = row[i] * column[j] / mean(row), of means over v's increments that the step's pass of
// statistics has already brought up to date. So v decodes to its updated self, and encoding has nothing to do.
#include "ops/cpu/machine/simd.h"
#include "ops/cpu/optimizer/state_kinds.h"

namespace bittern::cpu {

void decode_factored(const Moment& moment, const RowPiece& whole, float* out) {
  const float scale = moment.stored->row.as<float>()[whole.row] * moment.factor;
  const float* const column = moment.stored->column.as<float>() + whole.first;
  const std::int64_t n = whole.count;
  simd([=] {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) out[i] = scale * column[i];
  });
}

void encode_factored(const Moment&, const RowPiece&, const float*, std::uint64_t) {}

}  // namespace bittern::cpu
