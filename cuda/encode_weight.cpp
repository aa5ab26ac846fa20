// encode_weight: happens at the start of a run alone, so the CPU's own encoding serves the GPU too, bit for bit.
#include <cstddef>
#include <vector>

#include "cuda/backend.h"

namespace bittern::cuda {

void CudaBackend::do_encode_weight(const EncodeWeight& args) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(args.weight.bytes()));
  std::vector<float> scales(args.weight.scales != nullptr ? static_cast<std::size_t>(args.weight.rows()) : 0);
  Tensor encoded(bytes.data(), args.weight.dtype, args.weight.shape);
  if (!scales.empty()) encoded.scales = scales.data();
  cpu_->encode_weight({.weight = encoded, .values = args.values, .codec = args.codec});
  from_host(args.weight.data, bytes.data(), args.weight.bytes());
  if (!scales.empty())
    from_host(args.weight.scales, scales.data(), static_cast<std::int64_t>(scales.size() * sizeof(float)));
}

}  // namespace bittern::cuda
