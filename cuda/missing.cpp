// Ops that no kernel serves yet. A line goes when its op has a file.
#include "bittern/error.h"
#include "cuda/backend.h"

namespace bittern::cuda {
namespace {

[[noreturn]] void missing(std::string_view op) {
  throw failure("{}: the CUDA back end has no kernel for it yet; set run.device to \"cpu\"", op);
}

}  // namespace

void CudaBackend::do_embedding_forward(const EmbeddingForward& args) {
  missing(args.name);
}
void CudaBackend::do_embedding_backward(const EmbeddingBackward& args) {
  missing(args.name);
}
void CudaBackend::do_residual_rmsnorm_forward(const ResidualRmsnormForward& args) {
  missing(args.name);
}
void CudaBackend::do_residual_rmsnorm_backward(const ResidualRmsnormBackward& args) {
  missing(args.name);
}
void CudaBackend::do_qk_norm_rope_forward(const QkNormRopeForward& args) {
  missing(args.name);
}
void CudaBackend::do_qk_norm_rope_backward(const QkNormRopeBackward& args) {
  missing(args.name);
}
void CudaBackend::do_attention_forward(const AttentionForward& args) {
  missing(args.name);
}
void CudaBackend::do_attention_backward(const AttentionBackward& args) {
  missing(args.name);
}
void CudaBackend::do_attention_cached(const AttentionCached& args) {
  missing(args.name);
}
void CudaBackend::do_glu_forward(const GluForward& args) {
  missing(args.name);
}
void CudaBackend::do_glu_backward(const GluBackward& args) {
  missing(args.name);
}
void CudaBackend::do_linear_forward(const LinearForward& args) {
  missing(args.name);
}
void CudaBackend::do_linear_backward_input(const LinearBackwardInput& args) {
  missing(args.name);
}
void CudaBackend::do_linear_backward_weight(const LinearBackwardWeight& args) {
  missing(args.name);
}
void CudaBackend::do_bias_backward(const BiasBackward& args) {
  missing(args.name);
}
void CudaBackend::do_cross_entropy(const CrossEntropy& args) {
  missing(args.name);
}
void CudaBackend::do_begin_step(const BeginStep& args) {
  missing(args.name);
}
void CudaBackend::do_add_losses(const AddLosses& args) {
  missing(args.name);
}
void CudaBackend::do_square_parts(const SquareParts& args) {
  missing(args.name);
}
void CudaBackend::do_norm_of_parts(const NormOfParts& args) {
  missing(args.name);
}
void CudaBackend::do_decide_step(const DecideStep& args) {
  missing(args.name);
}
void CudaBackend::do_decide_bucket(const DecideBucket& args) {
  missing(args.name);
}
void CudaBackend::do_quantize(const Quantize& args) {
  missing(args.name);
}
void CudaBackend::do_optimizer_steps(std::span<const OptimizerStep>) {
  missing(OptimizerStep::name);
}
void CudaBackend::do_copy(const Copy& args) {
  missing(args.name);
}
void CudaBackend::do_zero(const Zero& args) {
  missing(args.name);
}

}  // namespace bittern::cuda
