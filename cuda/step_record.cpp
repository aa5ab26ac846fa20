// The ops on a step's record: arguments for the kernels (step_record.cu).
#include "cuda/step_record.h"

#include "cuda/backend.h"

namespace bittern::cuda {
namespace {

StepRecord* record_at(const Tensor& record) {
  return reinterpret_cast<StepRecord*>(record.as<std::uint8_t>());
}

}  // namespace

void CudaBackend::do_begin_step(const BeginStep& args) {
  record_ = record_at(args.record);
  cuda::begin_step(record_, stream());
  launched(args);
}

void CudaBackend::do_add_losses(const AddLosses& args) {
  cuda::add_losses(reinterpret_cast<LossSums*>(args.sums.as<std::uint8_t>()), args.loss.as<float>(),
                   args.lse_squared.as<float>(), args.targets.as<std::int32_t>(), args.loss.elements(), stream());
  launched(args);
}

void CudaBackend::do_norm_of_parts(const NormOfParts& args) {
  cuda::norm_of_parts(args.norm.as<float>(), reinterpret_cast<const double*>(args.parts.as<std::uint8_t>()),
                      args.parts.elements() / static_cast<std::int64_t>(sizeof(double)), args.max_norm, stream());
  launched(args);
}

void CudaBackend::do_decide_step(const DecideStep& args) {
  const Shares shares{
      .data = args.shares.data, .stride = args.shares.row_stride, .count = args.shares ? args.shares.rows() : 0};
  cuda::decide_step(record_at(args.record), shares, args.deviations, stream());
  launched(args);
}

void CudaBackend::do_decide_bucket(const DecideBucket& args) {
  cuda::decide_bucket(record_at(args.record),
                      {.bucket = args.bucket,
                       .first = args.first,
                       .last = args.last,
                       .max_norm = args.max_norm,
                       .deviations = args.deviations},
                      stream());
  launched(args);
}

}  // namespace bittern::cuda
