// Memory for a product under test, of exactly the size that gemm asks for with the threads in use, so that a sanitizer
// sees what is written beyond it.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::cpu {

/// Kept from one product to the next while its size stays.
class GemmWorkspace {
 public:
  /// `dirty`: whoever reads what he has not written reads large numbers, be they floats or integers.
  void* of(std::int64_t bytes, bool dirty) {
    const auto lines = static_cast<std::size_t>((bytes + 63) / 64);
    if (lines != memory_.size()) memory_ = std::vector<Line>(lines);
    if (dirty) std::memset(memory_.data(), 0x7f, lines * sizeof(Line));
    return memory_.data();
  }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  std::vector<Line> memory_;
};

inline void* shared_gemm_workspace(bool dirty = false) {
  static GemmWorkspace workspace;
  return workspace.of(gemm_workspace_bytes(thread_count()), dirty);
}
inline void* serial_gemm_workspace(bool dirty = false) {
  static GemmWorkspace workspace;
  return workspace.of(gemm_serial_workspace_bytes(), dirty);
}

}  // namespace bittern::cpu
