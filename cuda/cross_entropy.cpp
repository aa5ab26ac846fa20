// cross_entropy: arguments for the kernel (cross_entropy.cu).
#include "cuda/cross_entropy.h"

#include "cuda/backend.h"
#include "cuda/op_number.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {

void CudaBackend::do_cross_entropy(const CrossEntropy& args) {
  cuda::cross_entropy({.logits = rows_of(args.logits),
                       .targets = args.targets.as<std::int32_t>(),
                       .loss = args.loss.as<float>(),
                       .lse_squared = args.lse_squared.as<float>(),
                       .scale = args.backward ? args.scale.as<float>() : nullptr,
                       .rows = args.logits.rows(),
                       .cols = static_cast<int>(args.logits.cols()),
                       .z_loss = args.z_loss,
                       .softcap = args.softcap,
                       .backward = args.backward,
                       .record = record_,
                       .op = op_number<CrossEntropy>()},
                      stream());
  launched(args);
}

}  // namespace bittern::cuda
