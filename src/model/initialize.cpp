// The weights that a run begins with: ~ N(0, initializer_range), norms 1, biases 0; a pure function of the seed and the
// parameter's id.
#include <algorithm>

#include "bittern/model.h"
#include "bittern/normal.h"

namespace bittern {

void Transformer::initialize(std::uint32_t seed) {
  const PhiloxKey key = philox_key(seed, Purpose::init);
  std::vector<float> values;
  for (const Parameter& parameter : parameters_) {
    values.resize(static_cast<std::size_t>(parameter.spec.shape.elements()));
    if (parameter.spec.name.ends_with(".bias"))  // whose role is norm too
      std::ranges::fill(values, 0.0f);
    else if (parameter.spec.role == Role::norm)
      std::ranges::fill(values, 1.0f);
    else
      fill_normal(values, spec_.initializer_range, key, parameter.id);
    load_parameter(parameter, values);
  }
}

}  // namespace bittern
