// PTX instructions as the PTX manual defines them, in plain C++.
#include "emulator/ptx.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace emulator {
namespace {

float bf16_value(std::uint32_t bits) {
  return std::bit_cast<float>(bits << 16);
}

void check_aligned(const void* address, unsigned bytes, const char* what, Line at) {
  if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) fail(at, "%s is not a multiple of %u bytes", what, bytes);
}

}  // namespace

void cp_async(void* shared, const void* global, unsigned bytes, Line at) {
  check_aligned(shared, bytes, "cp.async: the address in shared memory", at);
  check_aligned(global, bytes, "cp.async: the address in global memory", at);
  self->late_copies.push_back({shared, global, bytes, self->copy_group});
}

void cp_async_commit() {
  ++self->copy_group;
}

void cp_async_wait(unsigned newest) {
  auto& list = self->late_copies;
  const auto due = std::find_if(list.begin(), list.end(),
                                [&](const Thread::LateCopy& copy) { return copy.group + newest >= self->copy_group; });
  std::for_each(list.begin(), due, [](const Thread::LateCopy& copy) { std::memcpy(copy.to, copy.from, copy.bytes); });
  list.erase(list.begin(), due);
}

void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, bool transposed, Line at) {
  check_aligned(row, 16, "ldmatrix: the address of a row", at);
  struct Out {
    std::uint32_t r[4];
  };
  using Row = const std::uint16_t*;
  const Out result = collective<Out>(
      "ldmatrix", ~0u, static_cast<Row>(row),
      [&](const Row* const* rows, Out* const* out) {
        for (int lane = 0; lane < 32; ++lane)
          for (int m = 0; m < 4; ++m) {
            out[lane]->r[m] = 0;
            for (int e = 0; e < 2; ++e) {
              const int i = lane / 4, j = lane % 4 * 2 + e;
              const std::uint32_t element = transposed ? (*rows[8 * m + j])[i] : (*rows[8 * m + i])[j];
              out[lane]->r[m] |= element << 16 * e;
            }
          }
      },
      at);
  std::copy(result.r, result.r + 4, r);
}

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Line at) {
  struct In {
    std::uint32_t a[4], b[2];
    float d[4];
  } in;
  struct Out {
    float d[4];
  };
  std::copy(a, a + 4, in.a);
  std::copy(b, b + 2, in.b);
  std::copy(d, d + 4, in.d);
  const Out result = collective<Out>(
      "mma.m16n8k16", ~0u, in,
      [&](const In* const* lanes, Out* const* out) {
        float left[16][16], right[8][16];  // right by columns
        for (int lane = 0; lane < 32; ++lane) {
          const int group = lane / 4, pair = lane % 4 * 2;
          for (int i = 0; i < 8; ++i)
            left[group + ((i & 2) != 0 ? 8 : 0)][pair + (i & 1) + ((i & 4) != 0 ? 8 : 0)] =
                bf16_value(lanes[lane]->a[i / 2] >> 16 * (i & 1) & 0xffff);
          for (int i = 0; i < 4; ++i)
            right[group][pair + (i & 1) + ((i & 2) != 0 ? 8 : 0)] =
                bf16_value(lanes[lane]->b[i / 2] >> 16 * (i & 1) & 0xffff);
        }
        for (int lane = 0; lane < 32; ++lane)
          for (int i = 0; i < 4; ++i) {
            const float* const x = left[lane / 4 + ((i & 2) != 0 ? 8 : 0)];
            const float* const y = right[lane % 4 * 2 + (i & 1)];
            float sum = lanes[lane]->d[i];
            for (int k = 0; k < 16; ++k) sum += x[k] * y[k];
            out[lane]->d[i] = sum;
          }
      },
      at);
  std::copy(result.d, result.d + 4, d);
}

}  // namespace emulator
