// norm_of_parts: norm[0] = sqrt(the parts added in order),  norm[1] = clip scale = min(1, max_norm / norm[0])
//   OVERWRITES norm. Some thousand additions: one thread.
#include <cmath>
#include <cstdint>

#include "ops/cpu/backend.h"

namespace bittern::cpu {

void CpuBackend::do_norm_of_parts(const NormOfParts& args) {
  const auto* const parts = reinterpret_cast<const double*>(args.parts.as<std::uint8_t>());
  const std::int64_t count = args.parts.elements() / static_cast<std::int64_t>(sizeof(double));
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) sum += parts[i];
  const double length = std::sqrt(sum);
  auto* const out = args.norm.as<float>();
  out[0] = static_cast<float>(length);
  out[1] = args.max_norm > 0.0f && length > args.max_norm ? static_cast<float>(args.max_norm / length) : 1.0f;
}

}  // namespace bittern::cpu
