// The functions of the CUDA runtime that bittern calls, on the emulated device: memory of the host stands for the device's,
// streams are queues. Their prototypes are NVIDIA's; a program that is linked with this file runs on the emulated device.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/emulator.h"
#include "emulator/launch.h"
#include "emulator/memory.h"

struct CUstream_st {
  std::deque<std::function<void()>> work;
  std::uint64_t given = 0, done = 0;
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::uint64_t position = 0;  // reached when the stream has done so much
  // Kept by the work that sets it: an event may be destroyed before it is reached.
  std::shared_ptr<std::chrono::steady_clock::time_point> time =
      std::make_shared<std::chrono::steady_clock::time_point>();
};

namespace emulator {
namespace {

struct Runtime {
  std::vector<CUstream_st*> streams;
  Streams order = Streams::at_once;
  cudaError_t last_error = cudaSuccess;
  int breakdown = -1;
  bool broken = false;
  std::int64_t blocking = 0;

  Runtime() {
    // What a run of a test program may be told from outside: EMULATOR_SEED=3 EMULATOR_STREAMS=late EMULATOR_SM=86 ...
    if (const char* seed = std::getenv("EMULATOR_SEED")) set_schedule(std::strtoull(seed, nullptr, 10));
    if (const char* streams_order = std::getenv("EMULATOR_STREAMS"))
      order = std::strcmp(streams_order, "late") == 0 ? Streams::late : Streams::at_once;
    if (const char* sm = std::getenv("EMULATOR_SM")) machine().sm = std::atoi(sm);
    if (const char* driver = std::getenv("EMULATOR_DRIVER")) machine().driver = std::atoi(driver);
    if (const char* devices = std::getenv("EMULATOR_DEVICES")) machine().devices = std::atoi(devices);
    if (const char* memory = std::getenv("EMULATOR_MEMORY")) machine().memory = std::atoll(memory);
    if (std::getenv("EMULATOR_PROTECTION") != nullptr) set_protection(true);
  }
};
Runtime& runtime() {
  static Runtime all;
  return all;
}

cudaError_t result(cudaError_t error) {
  Runtime& all = runtime();
  if (all.broken) error = cudaErrorIllegalAddress;
  if (error != cudaSuccess) all.last_error = error;
  return error;
}
/// Of a function that needs a device.
cudaError_t usable() {
  if (machine().driver < 13000) return result(cudaErrorInsufficientDriver);
  if (machine().devices == 0) return result(cudaErrorNoDevice);
  return result(cudaSuccess);
}
void blocks() {
  ++runtime().blocking;
}

void run_next(CUstream_st& stream) {
  const std::function<void()> work = std::move(stream.work.front());
  stream.work.pop_front();
  ++stream.done;
  if (runtime().broken) return;
  const Working working;
  work();
}
void drain(CUstream_st& stream, std::uint64_t position) {
  while (stream.done < position) run_next(stream);
}
/// All streams, in an order that the schedule chooses.
void drain_all() {
  for (;;) {
    std::vector<CUstream_st*> busy;
    for (CUstream_st* stream : runtime().streams)
      if (stream->done < stream->given) busy.push_back(stream);
    if (busy.empty()) return;
    run_next(*busy[random_bits() % busy.size()]);
  }
}

/// Dynamic shared memory that a block may have.
std::size_t shared_limit() {
  switch (machine().sm) {
    case 80:
      return 166912;
    case 90:
    case 100:
      return 232448;
    default:
      return 101376;
  }
}

void check_range(Kind kind, const void* address, std::size_t bytes, const char* what) {
  if (bytes > 0 && room(kind, address) < static_cast<std::int64_t>(bytes))
    fail({}, "%s of %zu bytes: %s memory does not reach so far there", what, bytes,
         kind == Kind::device ? "the device's" : "pinned");
}

}  // namespace

Machine& machine() {
  static Machine one;
  return one;
}
void set_streams(Streams streams) {
  drain_all();
  runtime().order = streams;
}
void set_breakdown(int after) {
  runtime().breakdown = after;
  runtime().broken = false;
  runtime().last_error = cudaSuccess;
}
std::int64_t blocking_calls() {
  return runtime().blocking;
}

bool can_launch(const LaunchShape& grid) {
  if (usable() != cudaSuccess) return false;
  const std::uint64_t threads = std::uint64_t{grid.block.x} * grid.block.y * grid.block.z;
  const bool fits = threads > 0 && threads <= 1024 && grid.block.z <= 64 && grid.grid.x > 0 && grid.grid.y > 0 &&
                    grid.grid.z > 0 && grid.grid.x <= 0x7fffffffu && grid.grid.y <= 65535 && grid.grid.z <= 65535;
  if (!fits) result(cudaErrorInvalidConfiguration);
  if (fits && grid.shared_bytes > shared_limit()) result(cudaErrorInvalidValue);
  return fits && grid.shared_bytes <= shared_limit();
}

void enqueue(cudaStream_t stream, std::function<void()> work) {
  Runtime& all = runtime();
  if (stream == nullptr) fail({}, "work is given to the legacy stream");
  if (all.breakdown == 0) all.broken = true;
  if (all.breakdown > 0) --all.breakdown;
  stream->work.push_back(std::move(work));
  ++stream->given;
  if (all.order == Streams::at_once) {
    drain(*stream, stream->given);
    return;
  }
  // Any stream may get ahead meanwhile.
  for (CUstream_st* other : all.streams)
    while (other->done < other->given && random_bits() % 4 == 1) run_next(*other);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  runtime();
  *version = machine().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  runtime();
  *count = machine().driver < 13000 ? 0 : machine().devices;
  return usable();
}
cudaError_t cudaSetDevice(int device) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  return result(device < 0 || device >= machine().devices ? cudaErrorInvalidDevice : cudaSuccess);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return usable();
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = machine().multiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = machine().sm / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = machine().sm % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(shared_limit());
      break;
    default:
      fail({}, "cudaDeviceGetAttribute: attribute %d is not emulated", static_cast<int>(attribute));
  }
  return usable();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated device");
  properties->major = machine().sm / 10;
  properties->minor = machine().sm % 10;
  properties->multiProcessorCount = machine().multiprocessors;
  properties->totalGlobalMem = static_cast<std::size_t>(machine().memory);
  properties->sharedMemPerBlockOptin = shared_limit();
  return usable();
}
cudaError_t cudaDeviceSynchronize() {
  blocks();
  drain_all();
  return usable();
}
cudaError_t cudaGetLastError() {
  Runtime& all = runtime();
  if (all.broken) return cudaErrorIllegalAddress;
  return std::exchange(all.last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return runtime().last_error;
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    default:
      return "another error";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    default:
      return "another error";
  }
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  blocks();
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  *memory = allocate(Kind::device, static_cast<std::int64_t>(bytes));
  return result(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  blocks();
  drain_all();
  return result(release(Kind::device, memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  blocks();
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  *memory = allocate(Kind::pinned, static_cast<std::int64_t>(bytes));
  return result(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  blocks();
  drain_all();
  return result(release(Kind::pinned, memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = static_cast<std::size_t>(machine().memory);
  *free = static_cast<std::size_t>(machine().memory - used_memory());
  return usable();
}

// Copies from and to pageable memory wait, on a GPU, now here, now there: they are refused.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (kind == cudaMemcpyDefault || kind == cudaMemcpyHostToHost) fail({}, "a copy that does not name its direction");
  check_range(kind == cudaMemcpyDeviceToHost ? Kind::pinned : Kind::device, to, bytes, "a copy to a range");
  check_range(kind == cudaMemcpyHostToDevice ? Kind::pinned : Kind::device, from, bytes, "a copy from a range");
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return usable();
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  check_range(Kind::device, to, bytes, "a fill");
  enqueue(stream, [=] { std::memset(to, value, bytes); });
  return usable();
}
cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height,
                              cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (height > 0) check_range(Kind::device, to, (height - 1) * pitch + width, "a fill of rows");
  enqueue(stream, [=] {
    for (std::size_t row = 0; row < height; ++row) std::memset(static_cast<char*>(to) + row * pitch, value, width);
  });
  return usable();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamNonBlocking) fail({}, "a stream that waits for the legacy stream");
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  *stream = new CUstream_st;
  runtime().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drain(*stream, stream->given);
  std::erase(runtime().streams, stream);
  delete stream;
  return usable();
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  blocks();
  drain(*stream, stream->given);
  return usable();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return usable();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  stream->work.emplace_back([time = event->time] { *time = std::chrono::steady_clock::now(); });
  event->stream = stream;
  event->position = ++stream->given;
  if (runtime().order == Streams::at_once) drain(*stream, stream->given);
  return usable();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event->stream != nullptr)
    enqueue(stream, [on = event->stream, position = event->position] { drain(*on, position); });
  return usable();
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  blocks();
  if (event->stream != nullptr) drain(*event->stream, event->position);
  return usable();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = usable(); error != cudaSuccess) return error;
  if (event->stream == nullptr || event->stream->done >= event->position) return cudaSuccess;
  run_next(*event->stream);  // who asks again and again shall see it happen
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  *milliseconds = std::chrono::duration<float, std::milli>(*to->time - *from->time).count();
  return usable();
}

}  // extern "C"
