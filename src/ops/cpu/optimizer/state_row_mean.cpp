// State kind `row_mean`: v[i, j] = row[i], a mean that the step's pass of statistics has already brought up to date. So v
// decodes to its updated self, and encoding has nothing to do.
#include <algorithm>

#include "ops/cpu/optimizer/state_kinds.h"

namespace bittern::cpu {

void decode_row_mean(const Moment& moment, const RowPiece& piece, float* out) {
  std::fill_n(out, piece.count, moment.stored->row.as<float>()[piece.row]);
}

void encode_row_mean(const Moment&, const RowPiece&, const float*, std::uint64_t) {}

}  // namespace bittern::cpu
