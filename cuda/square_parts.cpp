// square_parts: the list of gradients for the kernels (square_parts.cu), some at a time.
#include "cuda/square_parts.h"

#include <algorithm>

#include "bittern/row_parts.h"
#include "cuda/backend.h"

namespace bittern::cuda {
namespace {

std::int64_t pieces_of(const Tensor& gradient) {
  return row_parts(gradient.rows()) * pieces_of_part(gradient.rows(), gradient.cols());
}

}  // namespace

std::int64_t scratch_for(const SquareParts& args) {
  std::int64_t most = 0;
  for (std::size_t first = 0; first < args.gradients.size(); first += squared_at_once) {
    std::int64_t pieces = 0;
    for (const Tensor& gradient :
         args.gradients.subspan(first, std::min<std::size_t>(squared_at_once, args.gradients.size() - first)))
      pieces += pieces_of(gradient);
    most = std::max(most, pieces);
  }
  return most * static_cast<std::int64_t>(sizeof(double));
}

void CudaBackend::do_square_parts(const SquareParts& args) {
  auto* const piece_sums = static_cast<double*>(scratch(args));
  auto* parts = reinterpret_cast<double*>(args.parts.as<std::uint8_t>());
  SquaredGradients list{};
  std::int64_t listed_parts = 0;
  const auto run = [&] {
    list.piece_sums = piece_sums;
    list.parts = parts;
    cuda::square_parts(list, stream());
    parts += listed_parts;
    listed_parts = 0;
    list = {};
  };
  for (const Tensor& gradient : args.gradients) {
    list.of[list.count++] = {.data = gradient.as<float>(),
                             .rows = gradient.rows(),
                             .cols = gradient.cols(),
                             .pieces = pieces_of_part(gradient.rows(), gradient.cols()),
                             .first_part = listed_parts,
                             .first_piece = list.pieces};
    listed_parts += row_parts(gradient.rows());
    list.pieces += pieces_of(gradient);
    if (list.count == squared_at_once) run();
  }
  run();
  launched(args);
}

}  // namespace bittern::cuda
