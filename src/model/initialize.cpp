// The weights that a run begins with, as each parameter's spec says: a pure function of the seed and the parameter's id.
// Where residual_init is scaled, matrices whose outputs join the residual stream are ~ N(0, initializer_range / sqrt(2 L)):
// the same random numbers, smaller. The stream, a sum of 2 L of their outputs, then begins as large as one of them.
#include <algorithm>
#include <cmath>

#include "bittern/model.h"
#include "bittern/normal.h"

namespace bittern {
namespace {

double deviation_of_joining(const ModelSpec& spec) {
  const ResidualInit init =
      spec.residual_init == ResidualInit::automatic ? residual_init_of_a_new_run : spec.residual_init;
  const double joined = 2.0 * static_cast<double>(spec.num_hidden_layers);
  return init == ResidualInit::scaled ? spec.initializer_range / std::sqrt(joined) : spec.initializer_range;
}

}  // namespace

void Transformer::initialize(std::uint32_t seed) {
  const PhiloxKey key = philox_key(seed, Purpose::init);
  std::vector<float> values;
  for (const Parameter& parameter : parameters()) {
    values.resize(static_cast<std::size_t>(parameter.spec.shape.elements()));
    switch (parameter.spec.initial) {
      case Initial::normal:
        fill_normal(values, spec().initializer_range, key, parameter.id);
        break;
      case Initial::joins_stream:
        fill_normal(values, deviation_of_joining(spec()), key, parameter.id);
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
