// bias_backward: what it checks and what it costs (bittern/ops.h). Forward is linear's epilogue.
#include "bittern/backend.h"
#include "bittern/profile.h"
#include "ops/checked.h"

namespace bittern {

Cost cost_of(const BiasBackward& args) {
  return {.bytes = bytes_of(args.dy)};
}

void Backend::bias_backward(const BiasBackward& args) {
  Checked{args.name, "dy", args.dy}.act().matrix(args.dy.rows(), args.dy.cols());
  Checked{args.name, "dbias", args.dbias}.of(DType::f32).vector(args.dy.cols());
  const OpScope scope(args.name, cost_of(args));
  do_bias_backward(args);
}

}  // namespace bittern
