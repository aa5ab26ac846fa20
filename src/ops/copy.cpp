// copy and zero: what they check and what they cost (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const Copy& args) {
  return {.bytes = bytes_of(args.to) + bytes_of(args.from)};
}

Cost cost_of(const Zero& args) {
  return {.bytes = bytes_of(args.x)};
}

void Backend::copy(const Copy& args) {
  const std::int64_t rows = args.to.rows(), cols = args.to.cols();
  Checked{args.name, "from", args.from}.matrix(rows, cols);
  Checked{args.name, "to", args.to}.matrix(rows, cols);
  if (args.to.dtype != args.from.dtype) {
    if (args.from.scales == nullptr) Checked{args.name, "from", args.from}.act();
    Checked{args.name, "to", args.to}.act();
  }
  const OpScope scope(args.name, cost_of(args));
  do_copy(args);
}

void Backend::zero(const Zero& args) {
  Checked{args.name, "x", args.x}.matrix(args.x.rows(), args.x.cols());
  const OpScope scope(args.name, cost_of(args));
  do_zero(args);
}

}  // namespace bittern
