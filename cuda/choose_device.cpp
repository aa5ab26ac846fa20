// The questions before anything runs on a GPU, in order: a driver, new enough; a GPU; this one of them; new enough.
#include "cuda/choose_device.h"

#include <cuda_runtime.h>

#include "bittern/error.h"
#include "cuda/runtime.h"

namespace bittern::cuda {
namespace {

/// 13010 as "13.1".
std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

std::string choose_device(int gpu) {
  int driver = 0;
  // It succeeds with 0 where no driver is installed; every other function says then that the driver is too old.
  succeed(cudaDriverGetVersion(&driver), "asking for the driver");
  if (driver == 0)
    throw input_error("no NVIDIA driver is installed on this machine; install one, or set run.device to \"cpu\"");
  if (driver / 1000 < CUDART_VERSION / 1000)
    throw input_error(
        "the NVIDIA driver supports CUDA {}, and this program needs CUDA {} (driver 580 or newer); update the driver, or "
        "set run.device to \"cpu\"",
        version_text(driver), version_text(CUDART_VERSION / 1000 * 1000));
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorNoDevice || (counted == cudaSuccess && count == 0))
    throw input_error(
        "the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES may hide it); set run.device to \"cpu\" to train without");
  succeed(counted, "counting the GPUs");
  if (gpu < 0 || gpu >= count)
    throw input_error("run.gpu is {}, but there {} of them, counted from 0", gpu,
                      count == 1 ? "is 1" : fmt::format("are {}", count));
  succeed(cudaSetDevice(gpu), "choosing it");
  cudaDeviceProp properties;
  succeed(cudaGetDeviceProperties(&properties, gpu), "asking what it is");
  const int sm = 10 * properties.major + properties.minor;
  if (sm < 80)
    throw input_error(
        "the GPU {} is of compute capability {}.{}, and bittern needs 8.0 (Ampere) or newer; set "
        "run.device to \"cpu\"",
        properties.name, properties.major, properties.minor);
  return fmt::format("cuda sm_{} {}", sm, properties.name);
}

}  // namespace bittern::cuda
