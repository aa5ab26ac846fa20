// The activations of a gated MLP. A header of its own: device code includes it, too.
#pragma once

#include <cstdint>

namespace bittern {

/// silu(g) = g / (1 + exp(-g))
/// gelu_tanh(g) = g / (1 + exp(-2 z)) = g (1 + tanh z) / 2,  z = sqrt(2/pi) (g + .044715 g^3)
enum class Activation : std::uint8_t { silu, gelu_tanh };

}  // namespace bittern
