// quantize: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const Quantize& args) {
  return {.bytes = bytes_of(args.x) + bytes_of(args.q)};
}

void Backend::quantize(const Quantize& args) {
  const std::int64_t N = args.x.rows(), C = args.x.cols();
  Checked{args.name, "x", args.x}.act().matrix(N, C);
  Checked{args.name, "q", args.q}.quantized_act().matrix(N, C);
  const OpScope scope(args.name, cost_of(args));
  do_quantize(args);
}

}  // namespace bittern
