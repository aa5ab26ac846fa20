// eco: what rounding took from a weight goes into its first moment, which gives it back over the next updates (ECO,
// arXiv 2601.22101, algorithms 2 and 3). With a weight that moves by -s m, s the step size of the element:
//   m += (1 - 1 / beta1) * e / s        e = w - decode(encode(w))
// so that phi = w - s beta1 / (1 - beta1) m moves by -s g as if nothing had been rounded, for any rounding.
//
// On a grid that is never made anew (scale_update fixed; the paper makes its grid anew at every step) a weight beyond
// the ends is first clamped to them, and e is what rounding took from the clamped one: at an end it is 0. What clipping
// took could never be given back, and a moment that kept it would grow without bound.
//
// Two published variants:
//   decay_factor  the injection times 1 - lr weight_decay: exact where the weight decays too
//   cap           |injection| <= cap * r, r = sqrt(v / (1 - beta2^t)) the bias-corrected root of the second moment,
//                 which is the size of a gradient; what is above is lost. adamw only
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

/// e = w - decode(encode(w)) where w lies within the ends of a grid that is kept; 0 beyond them.
BITTERN_HD float eco_unclipped(float e, float w, float lowest, float highest) {
  return ((w < lowest) | (w > highest)) ? 0.0f : e;
}

/// The injection within +-cap * root; all of it where cap is 0.
BITTERN_HD float eco_capped(float injection, float root, float cap) {
  const float bound = cap * root;
  const float below = injection < bound ? injection : bound;
  const float within = below > -bound ? below : -bound;
  return cap > 0.0f ? within : injection;
}

}  // namespace bittern
