// norm_of_parts: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const NormOfParts& args) {
  return {.bytes = bytes_of(args.parts)};
}

void Backend::norm_of_parts(const NormOfParts& args) {
  Checked{args.name, "norm", args.norm}.of(DType::f32).vector(2);
  Checked{args.name, "parts", args.parts}.of(DType::u8).vector(args.parts.elements());
  check(args.parts.elements() % static_cast<std::int64_t>(sizeof(double)) == 0,
        "{}: parts has {} bytes; expected 8 of each part", args.name, args.parts.elements());
  check(args.max_norm >= 0.0f, "{}: max_norm is {}; expected at least 0 (0: no clipping)", args.name, args.max_norm);
  const OpScope scope(args.name, cost_of(args));
  do_norm_of_parts(args);
}

}  // namespace bittern
