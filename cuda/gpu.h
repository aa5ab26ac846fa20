// gpu: what every kernel file includes. CUDA, as nvcc knows it or as the emulated device of the tests stands in for it
// (tests/emulator), and the two things that they spell differently: launching a kernel and its shared memory. Only this
// file and ptx.h know that there are two worlds; a kernel has no #ifdef.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifndef __CUDACC__
#include "emulator/device.h"
#include "emulator/launch.h"
#endif

namespace bittern::gpu {

struct LaunchConfig {
  dim3 grid, block;
  std::size_t shared_bytes = 0;  ///< of dynamic shared memory in a block
  cudaStream_t stream = nullptr;
  const char* file = __builtin_FILE();  ///< of the launch, for the emulated device's messages
  unsigned line = __builtin_LINE();
};

/// Gives kernel(values...) to the stream: the one way to start a kernel. What goes wrong is CUDA's last error.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, std::type_identity_t<Parameters>... values) {
#ifdef __CUDACC__
  // Above 48 KB a kernel must be told once what it may take; asked for again, this costs a microsecond.
  if (config.shared_bytes > 48 * 1024 &&
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(config.shared_bytes)) != cudaSuccess)
    return;
  cudaLaunchConfig_t launch_config{};
  launch_config.gridDim = config.grid;
  launch_config.blockDim = config.block;
  launch_config.dynamicSmemBytes = config.shared_bytes;
  launch_config.stream = config.stream;
  cudaLaunchKernelEx(&launch_config, kernel, values...);
#else
  emulator::launch(kernel, {config.grid, config.block, config.shared_bytes}, config.stream, {config.file, config.line},
                   values...);
#endif
}

/// The block's dynamic shared memory as one object: the launch's shared_bytes are sizeof(T), or more where an array of a
/// size known at run time follows it. Its content is undefined at first.
template <class T>
__device__ __forceinline__ T& shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(1024) unsigned char block_memory[];
  return *reinterpret_cast<T*>(block_memory);
#else
  return *reinterpret_cast<T*>(emulator::shared_memory());
#endif
}

}  // namespace bittern::gpu
