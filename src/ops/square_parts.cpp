// square_parts: what it checks and what it costs (bittern/ops.h).
#include <cstdint>

#include "bittern/backend.h"
#include "bittern/profile.h"
#include "bittern/row_parts.h"
#include "ops/checked.h"

namespace bittern {

std::int64_t square_parts_of(const Tensor& gradient) {
  return row_parts(gradient.rows());
}

Cost cost_of(const SquareParts& args) {
  Cost cost;
  for (const Tensor& gradient : args.gradients) cost.bytes += bytes_of(gradient);
  return cost;
}

void Backend::square_parts(const SquareParts& args) {
  std::int64_t parts = 0;
  for (const Tensor& gradient : args.gradients) {
    Checked{args.name, "gradient", gradient}.of(DType::f32).vector(gradient.elements());
    parts += square_parts_of(gradient);
  }
  Checked{args.name, "parts", args.parts}.of(DType::u8).vector(parts * static_cast<std::int64_t>(sizeof(double)));
  const OpScope scope(args.name, cost_of(args));
  do_square_parts(args);
}

}  // namespace bittern
