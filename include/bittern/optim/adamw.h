// adamw: Adam with decoupled weight decay (Loshchilov & Hutter 2019), in PyTorch's order of operations:
//   m = b1 m + (1-b1) g      v = b2 v + (1-b2) g^2
//   w = w (1 - lr wd) - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)             t = 1, 2, ...
#pragma once

#include <cmath>

#include "bittern/host_device.h"

namespace bittern {

struct AdamwConstants {
  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float eps;
  float step_size;             ///< lr / (1 - beta1^t)
  float inv_sqrt_correction2;  ///< 1 / sqrt(1 - beta2^t)
  float decay;                 ///< 1 - lr * weight_decay
};

/// The constants of update t, formed in double precision once per step.
inline AdamwConstants adamw_constants(double lr, double beta1, double beta2, double eps, double weight_decay,
                                      long long t) {
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(t));
  const double correction2 = 1.0 - std::pow(beta2, static_cast<double>(t));
  return {.beta1 = static_cast<float>(beta1),
          .beta2 = static_cast<float>(beta2),
          .one_minus_beta1 = static_cast<float>(1.0 - beta1),
          .one_minus_beta2 = static_cast<float>(1.0 - beta2),
          .eps = static_cast<float>(eps),
          .step_size = static_cast<float>(lr / correction1),
          .inv_sqrt_correction2 = static_cast<float>(1.0 / std::sqrt(correction2)),
          .decay = static_cast<float>(1.0 - lr * weight_decay)};
}

/// One element: w, m and v are updated in place.
BITTERN_HD void adamw(float& w, float& m, float& v, float g, const AdamwConstants& c) {
  m = c.beta1 * m + c.one_minus_beta1 * g;
  v = c.beta2 * v + c.one_minus_beta2 * (g * g);
  const float denominator = std::sqrt(v) * c.inv_sqrt_correction2 + c.eps;
  w = w * c.decay - c.step_size * (m / denominator);
}

}  // namespace bittern
