// NotedCall: a call of an op that was noted rather than run (noting_backend.h). A list of them is what `bittern plan`
// counts FLOPs and bytes from, and what a back end sizes its workspace by. Calls that are alike are one entry.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

#include "bittern/ops.h"

namespace bittern {

/// The arguments of any op.
using OpArgs = std::variant<EmbeddingForward, EmbeddingBackward, ResidualRmsnormForward, ResidualRmsnormBackward,
                            QkNormRopeForward, QkNormRopeBackward, AttentionForward, AttentionBackward, AttentionCached,
                            GluForward, GluBackward, LinearForward, LinearBackwardInput, LinearBackwardWeight,
                            BiasBackward, CrossEntropy, BeginStep, AddLosses, SquareParts, NormOfParts, DecideStep,
                            DecideBucket, Quantize, EncodeWeight, OptimizerStep, Copy, Zero>;

/// The name of the op at a place of that list.
inline std::string_view op_at(std::size_t place) {
  constexpr auto names = []<std::size_t... i>(std::index_sequence<i...>) {
    return std::array{std::variant_alternative_t<i, OpArgs>::name...};
  }
  (std::make_index_sequence<std::variant_size_v<OpArgs>>());
  return place < names.size() ? names[place] : "unknown";
}

struct NotedCall {
  std::string_view op;       ///< the op's name, a literal
  Cost cost;                 ///< of one call
  std::int64_t scratch = 0;  ///< bytes that one call needs of the workspace (Backend::scratch_bytes)
  /// How often a step makes such a call. 0: it is made outside of steps, by evaluation or generation.
  std::int64_t times = 0;
};

}  // namespace bittern
