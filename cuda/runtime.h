// What CUDA gives and takes back, as objects; its errors as exceptions.
#pragma once

#include <cuda_runtime.h>

#include <string_view>
#include <utility>

#include "bittern/error.h"

namespace bittern::cuda {

/// `what` is what was tried: "allocating 12 bytes".
inline void succeed(cudaError_t error, std::string_view what) {
  if (error != cudaSuccess) [[unlikely]]
    throw failure("the GPU: {}: {}", what, cudaGetErrorString(error));
}

/// A queue of work. The legacy stream, which waits for all others, is never used.
class Stream {
 public:
  Stream() { succeed(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// A point in a stream's work.
class Event {
 public:
  Event() { succeed(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event"); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace bittern::cuda
