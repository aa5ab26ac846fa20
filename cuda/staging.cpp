// The ring of pinned memory: each copy takes the bytes behind those of the copy before, and gives them back when an event
// behind it in the stream is reached.
#include "cuda/staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace bittern::cuda {

Staging::Staging(std::int64_t bytes) : size_(bytes) {
  void* memory = nullptr;
  succeed(cudaHostAlloc(&memory, static_cast<std::size_t>(bytes), cudaHostAllocDefault), "pinning memory for copies");
  ring_ = static_cast<char*>(memory);
}

Staging::~Staging() {
  cudaFreeHost(ring_);  // waits for copies that are still on their way
}

void Staging::wait_for_oldest() {
  Piece& oldest = pieces_.front();
  succeed(cudaEventSynchronize(oldest.done), "waiting for a copy");
  used_ -= oldest.bytes;
  spare_.push_back(std::move(oldest.done));
  pieces_.pop_front();
}

Staging::Piece& Staging::take(std::int64_t bytes) {
  const std::int64_t rounded = (bytes + 255) / 256 * 256;
  // Nothing lies across the ring's end.
  const bool wraps = head_ + rounded > size_;
  const std::int64_t skipped = wraps ? size_ - head_ : 0;
  while (used_ + skipped + rounded > size_) wait_for_oldest();
  if (wraps) head_ = 0;
  if (spare_.empty()) spare_.emplace_back();
  pieces_.push_back({.place = ring_ + head_, .bytes = skipped + rounded, .done = std::move(spare_.back())});
  spare_.pop_back();
  head_ += rounded;
  used_ += skipped + rounded;
  return pieces_.back();
}

void Staging::to_device(void* device, const void* host, std::int64_t bytes, cudaStream_t stream) {
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t now = std::min(bytes - done, size_ / 4);
    const Piece& piece = take(now);
    std::memcpy(piece.place, static_cast<const char*>(host) + done, static_cast<std::size_t>(now));
    succeed(cudaMemcpyAsync(static_cast<char*>(device) + done, piece.place, static_cast<std::size_t>(now),
                            cudaMemcpyHostToDevice, stream),
            "copying to the device");
    succeed(cudaEventRecord(piece.done, stream), "marking a copy");
    done += now;
  }
}

void Staging::to_host(void* host, const void* device, std::int64_t bytes, cudaStream_t stream) {
  if (bytes == 0) succeed(cudaStreamSynchronize(stream), "waiting for the device");
  // While the bytes of a piece are taken from the ring, the next piece is on its way.
  struct Arriving {
    const Piece* piece = nullptr;
    char* to;
    std::int64_t bytes;
  } before;
  const auto take_out = [&] {
    if (before.piece == nullptr) return;
    succeed(cudaEventSynchronize(before.piece->done), "copying to the host");
    std::memcpy(before.to, before.piece->place, static_cast<std::size_t>(before.bytes));
  };
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t now = std::min(bytes - done, size_ / 4);
    const Piece& piece = take(now);
    succeed(cudaMemcpyAsync(piece.place, static_cast<const char*>(device) + done, static_cast<std::size_t>(now),
                            cudaMemcpyDeviceToHost, stream),
            "copying to the host");
    succeed(cudaEventRecord(piece.done, stream), "marking a copy");
    take_out();
    before = {.piece = &piece, .to = static_cast<char*>(host) + done, .bytes = now};
    done += now;
  }
  take_out();
}

}  // namespace bittern::cuda
