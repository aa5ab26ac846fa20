// block_quantiles: quantile (quant/log_quantizer.h) of blocks that lie one after the other.
#pragma once

#include <cstdint>

namespace bittern::cpu {

/// out (blocks) = the p-quantiles of x (blocks, n), all >= 0.
void block_quantiles(const float* x, std::int64_t blocks, std::int64_t n, float p, float* out);

}  // namespace bittern::cpu
