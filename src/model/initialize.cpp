// The weights that a run begins with: ~ N(0, initializer_range), norms 1, biases 0; a pure function of the seed and the
// parameter's id.
#include <cmath>
#include <numbers>

#include "bittern/model.h"

namespace bittern {

void Transformer::initialize(std::uint32_t seed) {
  const PhiloxKey key = philox_key(seed, Purpose::init);
  std::vector<float> values;
  for (const Parameter& parameter : parameters_) {
    const Tensor weight = arena_->view(parameter.weight);
    const std::int64_t n = weight.elements();
    const bool is_bias = parameter.spec.name.ends_with(".bias");
    values.assign(static_cast<std::size_t>(n), is_bias ? 0.0f : 1.0f);
    if (parameter.spec.role != Role::norm) {
      // Box-Muller on the two halves of a Philox block: elements 4i..4i+3 depend on i alone.
      for (std::int64_t i = 0; i < n; i += 4) {
        const PhiloxBlock block = philox_block(key, static_cast<std::uint64_t>(i), 0, parameter.id);
        for (int pair = 0; pair < 2; ++pair) {
          const double u1 = (static_cast<double>(block.word[2 * pair]) + 1.0) * 0x1p-32;
          const double u2 = static_cast<double>(block.word[2 * pair + 1]) * 0x1p-32;
          const double radius = std::sqrt(-2.0 * std::log(u1)) * spec_.initializer_range;
          const double angle = 2.0 * std::numbers::pi * u2;
          const std::int64_t at = i + 2 * pair;
          if (at < n) values[static_cast<std::size_t>(at)] = static_cast<float>(radius * std::cos(angle));
          if (at + 1 < n) values[static_cast<std::size_t>(at + 1)] = static_cast<float>(radius * std::sin(angle));
        }
      }
    }
    load_parameter(parameter, values);
  }
}

}  // namespace bittern
