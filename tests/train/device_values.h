// Numbers in a back end's memory, which a test reads and writes as all others do: by copies.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "bittern/backend.h"
#include "bittern/device_memory.h"
#include "catch.h"

namespace bittern {

/// The bytes of a tensor without gaps, as numbers of T.
template <class T>
std::vector<T> read_device(Backend& backend, const Tensor& tensor) {
  REQUIRE(tensor.bytes() % static_cast<std::int64_t>(sizeof(T)) == 0);
  std::vector<T> values(static_cast<std::size_t>(tensor.bytes()) / sizeof(T));
  backend.to_host(values.data(), tensor.data, tensor.bytes());
  return values;
}

/// From the tensor's first number on.
template <class T>
void write_device(Backend& backend, const Tensor& tensor, std::span<const T> values) {
  REQUIRE(static_cast<std::int64_t>(values.size_bytes()) <= tensor.bytes());
  backend.from_host(tensor.data, values.data(), static_cast<std::int64_t>(values.size_bytes()));
}

/// Values of any codec, as the products read them.
inline std::vector<float> decoded(Backend& backend, const Tensor& stored) {
  const DeviceMemory memory(backend, stored.elements() * size_of(DType::f32));
  const Tensor values(memory.data(), DType::f32, stored.shape);
  backend.copy({.to = values, .from = stored});
  return read_device<float>(backend, values);
}

/// One number of a tensor of f32: assigned to and read as if it lay in the host's memory.
class DeviceNumber {
 public:
  DeviceNumber(Backend& backend, const Tensor& tensor, std::int64_t index)
      : backend_(backend), address_(static_cast<char*>(tensor.data) + index * size_of(DType::f32)) {}
  operator float() const {
    float value = 0;
    backend_.to_host(&value, address_, sizeof value);
    return value;
  }
  void operator=(float value) const { backend_.from_host(address_, &value, sizeof value); }

 private:
  Backend& backend_;
  void* address_;
};

}  // namespace bittern
