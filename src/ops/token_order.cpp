// Groups the rows of a micro-batch by token: a counting sort, which keeps the order of equal ones.
#include "bittern/token_order.h"

#include <cstddef>

namespace bittern {

std::vector<std::int32_t> token_order(std::span<const std::int32_t> tokens, std::int64_t vocabulary) {
  const auto at = [](std::int32_t index) { return static_cast<std::size_t>(index); };
  std::vector<std::int32_t> next(static_cast<std::size_t>(vocabulary));  // first how many, then where the next one goes
  for (const std::int32_t token : tokens) ++next[at(token)];
  std::vector<std::int32_t> order(2 * tokens.size() + 2);
  std::int32_t runs = 0, rows = 0;
  for (std::int32_t& token : next) {
    if (token == 0) continue;
    order[at(++runs)] = rows;
    const std::int32_t count = token;
    token = rows;
    rows += count;
  }
  order[0] = runs;
  order[at(runs + 1)] = rows;
  std::int32_t* const by_token = order.data() + tokens.size() + 2;
  for (std::size_t n = 0; n < tokens.size(); ++n) by_token[next[at(tokens[n])]++] = static_cast<std::int32_t>(n);
  return order;
}

}  // namespace bittern
