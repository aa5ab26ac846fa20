// token_order: the rows of a micro-batch grouped by their token, for embedding_backward. The host makes it when it sends
// the tokens, so no op has to sort.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bittern {

/// How many numbers token_order has.
inline std::int64_t token_order_size(std::int64_t tokens) {
  return 2 * tokens + 2;
}

/// With N tokens, of which R are different: R; then where the rows of each different token begin (R numbers, the first
/// 0, by increasing token) and N; from number N + 2 on the rows, those of one token together and in increasing order.
/// What lies between is 0. Each token is in 0..vocabulary-1.
std::vector<std::int32_t> token_order(std::span<const std::int32_t> tokens, std::int64_t vocabulary);

}  // namespace bittern
