// encode_weight: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const EncodeWeight& args) {
  return {.bytes = static_cast<double>(args.values.size_bytes()) + bytes_of(args.weight)};
}

void Backend::encode_weight(const EncodeWeight& args) {
  const Tensor& weight = args.weight;
  check(static_cast<std::int64_t>(args.values.size()) == weight.elements() && weight.contiguous(),
        "{}: {} values for a weight of {}", args.name, args.values.size(), weight.shape.text());
  check(weight.dtype == args.codec.dtype(), "{}: the weight is {}, its codec says {}", args.name, name(weight.dtype),
        name(args.codec.dtype()));
  check(!args.codec.quantized() || weight.scales != nullptr, "{}: {} weights need scales", args.name,
        name(weight.dtype));
  const OpScope scope(args.name, cost_of(args));
  do_encode_weight(args);
}

}  // namespace bittern
