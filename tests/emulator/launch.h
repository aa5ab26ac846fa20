// Launching a kernel on the emulated device: its parameters are looked at and kept by value, its run is the stream's work.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulator/engine.h"
#include "emulator/memory.h"

namespace emulator {

/// Gives work to a stream.
void enqueue(cudaStream_t stream, std::function<void()> work);
/// False, and CUDA's last error is set: this device cannot run such a grid.
bool can_launch(const LaunchShape& grid);

template <class T>
void check_parameter(const T& value, Line at) {
  const char* wrong = nullptr;
  if constexpr (std::is_pointer_v<T>) {
    wrong = wrong_pointer(reinterpret_cast<const void*>(value));
  } else if constexpr (std::is_class_v<T>) {
    // What lies between members may be anything.
    T copy = value;
    __builtin_clear_padding(&copy);
    wrong = wrong_words(&copy, sizeof copy);
  }
  if (wrong != nullptr) fail(at, "a kernel is given %s (launched at %s:%u)", wrong, at.file, at.line);
}

template <class... Parameters>
void launch(void (*kernel)(Parameters...), const LaunchShape& grid, cudaStream_t stream, Line at,
            std::type_identity_t<Parameters>... values) {
  if (!can_launch(grid)) return;
  (check_parameter(values, at), ...);
  enqueue(stream, [=, parameters = std::tuple<Parameters...>(values...)] {
    run_grid(grid, at, [&] { std::apply(kernel, parameters); });
  });
}

}  // namespace emulator
