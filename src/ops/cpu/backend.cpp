// Memory, workspace and description of the CPU back end. The ops are in their own files.
#include "ops/cpu/backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <variant>

#include "base/machine_memory.h"
#include "bittern/error.h"
#include "ops/cpu/gemm/gemm.h"
#include "ops/cpu/machine/cpu_features.h"
#include "ops/cpu/machine/machine_peak.h"
#include "ops/cpu/machine/multiples.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern {

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<cpu::CpuBackend>(threads);
}

namespace cpu {
namespace {

constexpr std::int64_t page = 4096, huge_page = std::int64_t{2} << 20;

}  // namespace

CpuBackend::CpuBackend(int threads) {
  set_thread_count(threads);
}

std::string CpuBackend::description() const {
  return "cpu " + std::string(name(isa()));
}

BackendTraits CpuBackend::traits() const {
  return {.alignment = 64,                         // one cache line, and the widest vector load
          .logits_bytes = std::int64_t{64} << 20,  // few passes over the head's gradient, little memory
          .head_multiple = 1,
          .steps_ahead = 0,
          .own_memory = false};
}

// Fresh pages are zero and cost nothing until they are touched. Large memory starts at a huge page's border, so that
// huge pages can serve all of it; whatever mmap gave before and behind is returned at once.
void* CpuBackend::allocate(std::int64_t bytes, Place) {
  check(bytes >= 0, "memory: {} bytes asked for", bytes);
  if (bytes == 0) return nullptr;
  const std::int64_t size = round_up(bytes, page);
  const std::int64_t slack = size >= huge_page ? huge_page - page : 0;
  void* memory = mmap(nullptr, static_cast<std::size_t>(size + slack), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    throw failure("memory: cannot get {} bytes: {}; use a smaller micro-batch or a smaller model", bytes,
                  std::strerror(errno));
  allocated_ += bytes;
  if (slack == 0) return memory;
  auto* begin = static_cast<char*>(memory);
  const std::int64_t before = -reinterpret_cast<std::intptr_t>(begin) & (huge_page - 1);
  if (before > 0) munmap(begin, static_cast<std::size_t>(before));
  if (before < slack) munmap(begin + before + size, static_cast<std::size_t>(slack - before));
  madvise(begin + before, static_cast<std::size_t>(size), MADV_HUGEPAGE);
  return begin + before;
}

void CpuBackend::release(void* memory, std::int64_t bytes, Place) {
  if (memory == nullptr) return;
  munmap(memory, static_cast<std::size_t>(round_up(bytes, page)));
  allocated_ -= bytes;
}

std::int64_t CpuBackend::free_bytes(Place) const {
  return available_memory();
}

MachineLimits CpuBackend::measure_limits(DType compute, bool stream) const {
  return {.gemm_flops = 1e9 * measured_peak_gflops(compute),
          .stream_bytes = stream ? 1e9 * measured_stream_gbs(2, 1) : 0.0};
}

void CpuBackend::to_host(void* host, const void* device, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(host, device, static_cast<std::size_t>(bytes));
}

void CpuBackend::from_host(void* device, const void* host, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(device, host, static_cast<std::size_t>(bytes));
}

Ticket CpuBackend::copy_aside(std::span<const CopyOut> copies) {
  for (const CopyOut& copy : copies) to_host(copy.host, copy.device, copy.bytes);
  return {};
}

std::int64_t CpuBackend::scratch_bytes(const OpArgs& args) const {
  return std::visit([](const auto& of) { return scratch_for(of); }, args);
}

std::int64_t CpuBackend::workspace_bytes(std::span<const NotedCall> calls) const {
  std::int64_t most = 0;
  for (const NotedCall& call : calls) most = std::max(most, call.scratch);
  return round_up(gemm_workspace_bytes(thread_count()), page) + round_up(most, page);
}

void CpuBackend::bind_workspace(const Tensor& workspace) {
  const std::int64_t gemm = round_up(gemm_workspace_bytes(thread_count()), page);
  check(workspace.bytes() >= gemm, "workspace: {} bytes are too few for the matrix products' {}", workspace.bytes(),
        gemm);
  const std::span<std::byte> all(static_cast<std::byte*>(workspace.data), static_cast<std::size_t>(workspace.bytes()));
  gemm_workspace_ = all.first(static_cast<std::size_t>(gemm));
  scratch_ = all.subspan(static_cast<std::size_t>(gemm));
}

void* CpuBackend::scratch(std::string_view op, std::int64_t bytes) const {
  if (bytes == 0) return nullptr;
  check(bytes <= static_cast<std::int64_t>(scratch_.size()),
        "{}: needs {} bytes of scratch, the workspace has {}; it was made for a smaller batch, fewer threads or "
        "another instruction set",
        op, bytes, scratch_.size());
  return scratch_.data();
}

}  // namespace cpu
}  // namespace bittern
