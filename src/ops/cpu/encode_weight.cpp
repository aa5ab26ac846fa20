// encode_weight: fp32 values become a stored weight, rounded to nearest.
#include <algorithm>

#include "ops/cpu/backend.h"

namespace bittern::cpu {

void CpuBackend::encode_weight(const Tensor& weight, std::span<const float> values, const WeightCodec& codec) {
  check(static_cast<std::int64_t>(values.size()) == weight.elements() && weight.contiguous(),
        "encode_weight: {} values for a weight of {}", values.size(), weight.shape.text());
  check(!codec.quantized(), "encode_weight: no encoder for {}", name(weight.dtype));
  if (weight.dtype == DType::f32)
    std::copy(values.begin(), values.end(), weight.as<float>());
  else
    std::transform(values.begin(), values.end(), weight.as<bf16>(), to_bf16);
}

}  // namespace bittern::cpu
