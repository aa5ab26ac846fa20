// copy on plain pointers: to (rows, cols) f32|bf16 = from, f32, bf16, or codes with scales. Bytes of one type are copied by
// copy_bytes, and zeroed by zero_bytes: rows of so many bytes, `stride` bytes apart.
#pragma once

#include <cstdint>

#include "cuda/rows.h"

namespace bittern::cuda {

void convert(const Rows& to, const Rows& from, std::int64_t rows, std::int64_t cols, cudaStream_t stream);

struct ByteRows {
  void* data;
  std::int64_t stride;
};
void copy_bytes(const ByteRows& to, const ByteRows& from, std::int64_t rows, std::int64_t bytes, cudaStream_t stream);
void zero_bytes(const ByteRows& to, std::int64_t rows, std::int64_t bytes, cudaStream_t stream);

}  // namespace bittern::cuda
