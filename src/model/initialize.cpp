// The weights that a run begins with, as each parameter's spec says: a pure function of the seed and the parameter's id.
#include <algorithm>

#include "bittern/model.h"
#include "bittern/normal.h"

namespace bittern {

void Transformer::initialize(std::uint32_t seed) {
  const PhiloxKey key = philox_key(seed, Purpose::init);
  std::vector<float> values;
  for (const Parameter& parameter : parameters()) {
    values.resize(static_cast<std::size_t>(parameter.spec.shape.elements()));
    switch (parameter.spec.initial) {
      case Initial::normal:
      case Initial::joins_stream:
        fill_normal(values, spec().initializer_range, key, parameter.id);
        break;
      case Initial::ones:
        std::ranges::fill(values, 1.0f);
        break;
      case Initial::zeros:
        std::ranges::fill(values, 0.0f);
        break;
    }
    load_parameter(parameter, values);
  }
}

}  // namespace bittern
