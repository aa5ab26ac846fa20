// eco: what rounding took from a weight goes into its first moment, which gives it back over the next updates (ECO,
// arXiv 2601.22101, algorithms 2 and 3). With a weight that moves by -s m, s the step size of the element:
//   m += (1 - 1 / beta1) * e / s        e = w - decode(encode(w))
// so that phi = w - s beta1 / (1 - beta1) m moves by -s g as if nothing had been rounded, for any rounding.
//
// Two published variants:
//   decay_factor  the injection times 1 - lr weight_decay: exact where the weight decays too
//   cap           |injection| <= cap * r, r the bias-corrected root of the second moment, sqrt(v / (1 - beta2^t)),
//   which
//                 is the size of a gradient; what is above is lost. adamw only
// Where lr is 0 nothing was rounded away by the update, s is 0, and nothing is injected. beta1 is above 0.
#pragma once

#include "bittern/host_device.h"
#include "bittern/optim/rule_constants.h"

namespace bittern {

/// (1 - 1 / beta1) / step_size, what multiplies e (and for adamw its denominator).
inline double eco_gain(const RuleOptions& options, double step_size) {
  if (options.lr == 0.0 || options.beta1 == 0.0) return 0.0;
  const double factor = options.eco_decay_factor ? 1.0 - options.lr * options.weight_decay : 1.0;
  return factor * (1.0 - 1.0 / options.beta1) / step_size;
}

/// The injection within +-cap * root; all of it where cap is 0.
BITTERN_HD float eco_capped(float injection, float root, float cap) {
  const float bound = cap * root;
  const float below = injection < bound ? injection : bound;
  const float within = below > -bound ? below : -bound;
  return cap > 0.0f ? within : injection;
}

}  // namespace bittern
