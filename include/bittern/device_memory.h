// DeviceMemory: memory of a back end for the time of a conversion: an import, an export, a test. What a run keeps is
// in the plan's arena (plan.h).
#pragma once

#include <cstdint>

#include "bittern/backend.h"
#include "bittern/tensor.h"

namespace bittern {

class DeviceMemory {
 public:
  DeviceMemory(Backend& backend, std::int64_t bytes)
      : backend_(backend), bytes_(bytes), data_(backend.allocate(bytes)) {}
  ~DeviceMemory() { backend_.release(data_, bytes_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  void* data() const { return data_; }

 private:
  Backend& backend_;
  std::int64_t bytes_;
  void* data_;
};

}  // namespace bittern
