// copy, zero: to = from, f32 <-> bf16 (nearest even), codes with scales -> f32 or bf16, or bytes of one type;  x = 0.
//   to, from: matrices of one size; rows may lie apart. Reads from, writes to, 6 bytes an element of f32 and bf16, 2.5 of
//   4-bit codes to bf16: memory-bound. A thread takes a chunk of a row; a block of a matrix without gaps takes 2048
//   elements, which are then one row.
#include "cuda/copy.h"

#include "cuda/chunk.h"

namespace bittern::cuda {
namespace {

constexpr int threads = 256;

struct ConvertArgs {
  Rows to, from;
  std::int64_t rows, cols, tiles;  ///< tiles: blocks to a row
};

template <bool vector>
__global__ void __launch_bounds__(threads) convert_kernel(ConvertArgs a) {
  const std::int64_t row = blockIdx.x / a.tiles, tile = blockIdx.x % a.tiles, first = tile * threads * chunk;
  // A row may have more elements than an int counts: what is left of it from this tile on need not.
  const int col = static_cast<int>(threadIdx.x) * chunk;
  const std::int64_t left = a.cols - first;
  const int cols = static_cast<int>(left < threads * chunk ? left : threads * chunk);
  if (col >= cols) return;
  const auto from_tile = [first](Rows x) {
    x.data = static_cast<std::uint8_t*>(x.data) + first / chunk * element_bits(x.dtype);
    return x;
  };
  float x[chunk];
  load_any<vector>(from_tile(a.from), row, col, cols, x);
  store<vector>(from_tile(a.to), row, col, cols, x);
}

struct ByteArgs {
  ByteRows to, from;  ///< from.data null: zeros
  std::int64_t rows, bytes, tiles;
};

__global__ void __launch_bounds__(threads) bytes_kernel(ByteArgs a) {
  const std::int64_t row = blockIdx.x / a.tiles, first = blockIdx.x % a.tiles * threads * 16;
  const std::int64_t last = first + threads * 16 < a.bytes ? first + threads * 16 : a.bytes;
  std::uint8_t* const to = static_cast<std::uint8_t*>(a.to.data) + row * a.to.stride;
  const std::uint8_t* const from = static_cast<const std::uint8_t*>(a.from.data) + row * a.from.stride;
  for (std::int64_t i = first + threadIdx.x; i < last; i += threads) to[i] = a.from.data != nullptr ? from[i] : 0;
}

/// Rows without gaps on both sides are one row.
void launch_bytes(ByteArgs a, bool gaps, cudaStream_t stream) {
  if (!gaps) a.bytes *= a.rows, a.rows = 1;
  if (a.bytes == 0 || a.rows == 0) return;
  if (a.rows == 1 && a.from.data == nullptr) {
    cudaMemsetAsync(a.to.data, 0, static_cast<std::size_t>(a.bytes), stream);
    return;
  }
  if (a.rows == 1) {
    cudaMemcpyAsync(a.to.data, a.from.data, static_cast<std::size_t>(a.bytes), cudaMemcpyDeviceToDevice, stream);
    return;
  }
  a.tiles = (a.bytes + threads * 16 - 1) / (threads * 16);
  gpu::launch(bytes_kernel,
              {.grid = dim3(static_cast<unsigned>(a.rows * a.tiles)), .block = dim3(threads), .stream = stream}, a);
}

}  // namespace

void convert(const Rows& to, const Rows& from, std::int64_t rows, std::int64_t cols, cudaStream_t stream) {
  ConvertArgs a{to, from, rows, cols, 0};
  if (to.stride == cols && from.stride == cols && !is_code(from.dtype)) a.cols *= rows, a.rows = 1;
  if (a.rows == 0 || a.cols == 0) return;
  a.tiles = (a.cols + threads * chunk - 1) / (threads * chunk);
  // One row has no stride that could be unaligned; its last chunk may be a part of one.
  const bool vector = vector_rows(to, a.rows == 1 ? a.cols : cols) && vector_rows(from, a.rows == 1 ? a.cols : cols);
  gpu::launch(vector ? convert_kernel<true> : convert_kernel<false>,
              {.grid = dim3(static_cast<unsigned>(a.rows * a.tiles)), .block = dim3(threads), .stream = stream}, a);
}

void copy_bytes(const ByteRows& to, const ByteRows& from, std::int64_t rows, std::int64_t bytes, cudaStream_t stream) {
  launch_bytes({to, from, rows, bytes, 0}, rows > 1 && (to.stride != bytes || from.stride != bytes), stream);
}

void zero_bytes(const ByteRows& to, std::int64_t rows, std::int64_t bytes, cudaStream_t stream) {
  launch_bytes({to, {nullptr, 0}, rows, bytes, 0}, rows > 1 && to.stride != bytes, stream);
}

}  // namespace bittern::cuda
