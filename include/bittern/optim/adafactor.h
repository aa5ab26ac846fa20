// adafactor (Shazeer & Stern 2018), with the schedule's rate and decoupled weight decay:
//   v = b2 v + (1-b2) (g^2 + 1e-30)      b2 = 1 - t^-0.8, so the first update forgets the zeros that v began with
//   u = g / sqrt(v)                      u = u / max(1, rms(u) / d),  d = 1, rms over the tensor
//   m = b1 m + (1-b1) u                  w = w - (lr wd w + lr m)
// The paper's v is factored, which is the state codec `factored` here; any other codec may hold v too. Its relative
// step sizes are left out: a run has a schedule. betas[1] and eps are not used. With beta1 = 0 no first moment is kept.
#pragma once

#include <cmath>

#include "bittern/optim/eco.h"

namespace bittern {

inline RuleConstants adafactor_constants(const RuleOptions& options, long long t) {
  const double forget = std::pow(static_cast<double>(t), -0.8);
  return {.beta1 = static_cast<float>(options.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - options.beta1),
          .beta2 = static_cast<float>(1.0 - forget),
          .one_minus_beta2 = static_cast<float>(forget),
          .eps = 1e-30f,
          .step_size = static_cast<float>(options.lr),
          .inv_sqrt_correction2 = 1.0f,
          .decay = static_cast<float>(options.lr * options.weight_decay),
          .eco_gain = static_cast<float>(eco_gain(options, options.lr))};
}

BITTERN_HD float adafactor_second_moment(float v, float g, const RuleConstants& c) {
  return c.beta2 * v + c.one_minus_beta2 * (g * g + c.eps);
}

/// u before clipping; v is the updated one, and above 0. A codec may have rounded v to 0 before.
BITTERN_HD float adafactor_direction(float v, float g) {
  return v > 0.0f ? g / std::sqrt(v) : 0.0f;
}

/// update_scale, given the root mean square of u over the tensor.
inline float adafactor_update_scale(double rms) {
  return rms > 1.0 ? static_cast<float>(1.0 / rms) : 1.0f;
}

BITTERN_HD void adafactor(float& w, float& m, float& v, float g, const RuleConstants& c) {
  v = adafactor_second_moment(v, g, c);
  m = c.beta1 * m + c.one_minus_beta1 * (adafactor_direction(v, g) * c.update_scale);
  w = decayed(w, c.step_size * m, c);
}

BITTERN_HD void adafactor_eco(float& m, float e, const RuleConstants& c) {
  m += c.eco_gain * e;
}

}  // namespace bittern
