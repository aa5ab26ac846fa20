// copy and zero: bytes of one type, or a conversion (copy.cu).
#include "cuda/copy.h"

#include "cuda/backend.h"
#include "cuda/rows_of.h"

namespace bittern::cuda {
namespace {

ByteRows bytes_of_rows(const Tensor& x) {
  return {.data = x.data, .stride = row_bytes(x.dtype, x.row_stride)};
}

}  // namespace

void CudaBackend::do_copy(const Copy& args) {
  const Tensor &to = args.to, &from = args.from;
  if (to.dtype == from.dtype)
    copy_bytes(bytes_of_rows(to), bytes_of_rows(from), to.rows(), row_bytes(to.dtype, to.cols()), stream());
  else
    convert(rows_of(to), rows_of(from), to.rows(), to.cols(), stream());
  launched(args);
}

void CudaBackend::do_zero(const Zero& args) {
  zero_bytes(bytes_of_rows(args.x), args.x.rows(), row_bytes(args.x.dtype, args.x.cols()), stream());
  launched(args);
}

}  // namespace bittern::cuda
