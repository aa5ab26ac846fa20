// The CUDA back end's memory, copies, tickets and workspace. The ops are in their own files.
#include "cuda/backend.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <variant>

#include "bittern/error.h"
#include "cuda/choose_device.h"

namespace bittern {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

namespace cuda {
namespace {

constexpr std::int64_t staging_bytes = std::int64_t{32} << 20;

}  // namespace

CudaBackend::Device::Device() : staging(staging_bytes) {}

CudaBackend::CudaBackend(const CudaOptions& options) : cpu_(make_cpu_backend(options.threads)) {
  if (options.plan_only) {
    description_ = "cuda, for a plan alone";
    return;
  }
  description_ = choose_device(options.gpu);
  device_ = std::make_unique<Device>();
  wait_after_each_ = std::getenv("BITTERN_CUDA_SYNC") != nullptr;
}

CudaBackend::~CudaBackend() = default;

CudaBackend::Device& CudaBackend::device() const {
  check(device_ != nullptr, "a back end that was made for a plan alone has no device");
  return *device_;
}

std::string CudaBackend::description() const {
  return description_;
}

BackendTraits CudaBackend::traits() const {
  return {.alignment = 256,                       // what every vector load, and the matrix products, want
          .logits_bytes = std::int64_t{1} << 30,  // rows enough for all multiprocessors
          .head_multiple = 128,
          .steps_ahead = 1,
          .own_memory = true};
}

void* CudaBackend::allocate(std::int64_t bytes, Place place) {
  check(bytes >= 0, "memory: {} bytes asked for", bytes);
  if (bytes == 0) return nullptr;
  const cudaStream_t stream = this->stream();
  void* memory = nullptr;
  const auto size = static_cast<std::size_t>(bytes);
  const cudaError_t error =
      place == Place::device ? cudaMalloc(&memory, size) : cudaHostAlloc(&memory, size, cudaHostAllocDefault);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is no error of the work that follows
    if (place == Place::host)
      throw failure("memory: cannot pin {} bytes of the host's memory; set train.snapshot to \"pieces\"", bytes);
    throw failure("memory: the GPU cannot give {} bytes, {} are free; use a smaller micro-batch or a smaller model",
                  bytes, free_bytes(Place::device));
  }
  succeed(error, "allocating memory");
  allocated_ += bytes;
  if (place == Place::device)
    succeed(cudaMemsetAsync(memory, 0, size, stream), "zeroing memory");
  else
    std::fill_n(static_cast<char*>(memory), size, char{0});
  return memory;
}

void CudaBackend::release(void* memory, std::int64_t bytes, Place place) {
  if (memory == nullptr) return;
  if (place == Place::device)
    cudaFree(memory);
  else
    cudaFreeHost(memory);
  allocated_ -= bytes;
}

std::int64_t CudaBackend::free_bytes(Place place) const {
  if (place == Place::host) return cpu_->free_bytes(Place::host);
  device();
  std::size_t free = 0, total = 0;
  succeed(cudaMemGetInfo(&free, &total), "asking for its free memory");
  return static_cast<std::int64_t>(free);
}

void CudaBackend::to_host(void* host, const void* device_memory, std::int64_t bytes) {
  device().staging.to_host(host, device_memory, bytes, stream());
}

void CudaBackend::from_host(void* device_memory, const void* host, std::int64_t bytes) {
  device().staging.to_device(device_memory, host, bytes, stream());
}

void CudaBackend::synchronize() {
  succeed(cudaStreamSynchronize(stream()), "waiting for all work");
  succeed(cudaStreamSynchronize(device().aside), "waiting for copies");
}

Ticket CudaBackend::mark_in(cudaStream_t stream) {
  if (marks_.size() > 64)  // nobody asked for these
    std::erase_if(marks_, [](const auto& mark) { return cudaEventQuery(mark.second) == cudaSuccess; });
  Event event;
  succeed(cudaEventRecord(event, stream), "marking a point");
  marks_.emplace(++last_ticket_, std::move(event));
  return {last_ticket_};
}

Ticket CudaBackend::mark() {
  return mark_in(stream());
}

bool CudaBackend::reached(Ticket ticket) {
  const auto mark = marks_.find(ticket.number);
  if (mark == marks_.end()) return true;
  const cudaError_t error = cudaEventQuery(mark->second);
  if (error == cudaErrorNotReady) return false;
  succeed(error, "work that was given to it");
  marks_.erase(mark);
  return true;
}

void CudaBackend::wait(Ticket ticket) {
  const auto mark = marks_.find(ticket.number);
  if (mark == marks_.end()) return;
  succeed(cudaEventSynchronize(mark->second), "work that was given to it");
  marks_.erase(mark);
}

void CudaBackend::copy_out(void* host, const void* device_memory, std::int64_t bytes) {
  if (bytes == 0) return;
  succeed(cudaMemcpyAsync(host, device_memory, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream()),
          "copying to the host");
}

Ticket CudaBackend::copy_aside(std::span<const CopyOut> copies) {
  const Device& on = device();
  const Event before;  // what was given so far
  succeed(cudaEventRecord(before, on.stream), "marking a point");
  succeed(cudaStreamWaitEvent(on.aside, before, 0), "ordering copies");
  for (const CopyOut& copy : copies)
    if (copy.bytes > 0)
      succeed(cudaMemcpyAsync(copy.host, copy.device, static_cast<std::size_t>(copy.bytes), cudaMemcpyDeviceToHost,
                              on.aside),
              "copying to the host");
  succeed(cudaEventRecord(on.aside_done, on.aside), "marking copies");
  copies_aside_ = true;
  return mark_in(on.aside);
}

void CudaBackend::join_copies_aside() {
  if (copies_aside_) succeed(cudaStreamWaitEvent(stream(), device().aside_done, 0), "ordering copies");
  copies_aside_ = false;
}

MachineLimits CudaBackend::measure_limits(DType, bool) const {
  return {};
}

std::int64_t CudaBackend::scratch_bytes(const OpArgs& args) const {
  return std::visit([](const auto& of) { return scratch_for(of); }, args);
}

std::int64_t CudaBackend::workspace_bytes(std::span<const NotedCall> calls) const {
  std::int64_t most = 0;
  for (const NotedCall& call : calls) most = std::max(most, call.scratch);
  return most;
}

void CudaBackend::bind_workspace(const Tensor& workspace) {
  workspace_ = workspace;
}

void* CudaBackend::scratch(std::string_view op, std::int64_t bytes) const {
  if (bytes == 0) return nullptr;
  check(workspace_ && bytes <= workspace_.bytes(), "{}: needs {} bytes of scratch, the workspace has {}", op, bytes,
        workspace_ ? workspace_.bytes() : 0);
  return workspace_.data;
}

void CudaBackend::launch_failed(cudaError_t error, std::string_view op) const {
  throw failure("the GPU: {}: {}; it may be of an op before that one: run again with BITTERN_CUDA_SYNC=1 to find it",
                op, cudaGetErrorString(error));
}

void CudaBackend::wait_after(std::string_view op) const {
  if (const cudaError_t error = cudaStreamSynchronize(stream()); error != cudaSuccess)
    throw failure("the GPU: {}: {}", op, cudaGetErrorString(error));
}

}  // namespace cuda
}  // namespace bittern
