// Staging: pinned memory through which bytes travel between the device and any memory of the host. CUDA copies from
// pageable memory only by waiting, so no such address is ever given to it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "cuda/runtime.h"

namespace bittern::cuda {

class Staging {
 public:
  explicit Staging(std::int64_t bytes);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Gives the stream a copy to the device. The caller's memory is free again at return. Waits only where bytes that were
  /// given before fill the ring and are still on their way.
  void to_device(void* device, const void* host, std::int64_t bytes, cudaStream_t stream);
  /// Returns when the bytes are there, and all that was given to the stream before is done.
  void to_host(void* host, const void* device, std::int64_t bytes, cudaStream_t stream);

 private:
  /// A part of the ring whose bytes are on their way.
  struct Piece {
    char* place;
    std::int64_t bytes;  // those that were left free before it included
    Event done;
  };
  /// A part of the ring for so many bytes, a quarter of it at most.
  Piece& take(std::int64_t bytes);
  void wait_for_oldest();

  char* ring_ = nullptr;
  std::int64_t size_, head_ = 0, used_ = 0;
  std::deque<Piece> pieces_;  // the oldest first
  std::vector<Event> spare_;
};

}  // namespace bittern::cuda
