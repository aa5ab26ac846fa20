// A case: one op on one set of inputs, run on any back end and compared with double precision. Each op's table of cases
// is in cases/OP.h; a test runs a table on a back end, so a second back end is tested by running the same tables on it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bittern/backend.h"
#include "bittern/quant/fp8.h"
#include "bittern/quant/philox.h"
#include "bittern/tensor.h"
#include "catch.h"
#include "ops/reference.h"

namespace bittern {

using reference::Values;

/// Addressed noise in [-scale, scale), a pure function of (seed, index).
inline Values noise(std::uint32_t seed, std::int64_t count, double scale = 1.0) {
  const PhiloxKey key = philox_key(seed, Purpose::test);
  Values out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = scale * (static_cast<double>(philox(key, i, 0, 0)) * 0x1p-31 - 1.0);
  return out;
}

/// A matrix in a back end's memory, its rows `gap` elements apart, filled with values (rounded to dtype; values() gives
/// what is really there). Codes get a scale of their own for every row. Everything around the elements is a canary that
/// check_canary looks for.
class Array {
 public:
  Array(Backend& backend, DType dtype, std::int64_t rows, std::int64_t cols, const Values& values = {},
        std::int64_t gap = 0)
      : backend_(backend),
        stride_(cols + gap),
        bytes_(rows * row_bytes(dtype, stride_) + 64 * std::max<std::int64_t>(1, size_of(dtype))) {
    memory_ = backend_.allocate(bytes_);
    tensor_ = Tensor(memory_, dtype, Shape{rows, cols});
    tensor_.row_stride = stride_;
    if (is_quantized(dtype)) {
      for (std::int64_t r = 0; r < rows; ++r) scales_.push_back((1.0f + 0.25f * static_cast<float>(r % 7)) / top());
      tensor_.scales = static_cast<float*>(backend_.allocate(rows * size_of(DType::f32)));
      backend_.from_host(tensor_.scales, scales_.data(), rows * size_of(DType::f32));
    }
    std::vector<std::uint8_t> image(static_cast<std::size_t>(bytes_), canary);
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i)
      store(image, i, values[static_cast<std::size_t>(i)]);
    backend_.from_host(memory_, image.data(), bytes_);
  }
  ~Array() {
    backend_.release(memory_, bytes_);
    backend_.release(tensor_.scales, tensor_.rows() * size_of(DType::f32));
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  const Tensor& tensor() const { return tensor_; }
  operator const Tensor&() const { return tensor_; }

  Values values() const {
    const std::vector<std::uint8_t> image = download();
    Values out(static_cast<std::size_t>(tensor_.elements()));
    const Values row_scales = scales();
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = load(image, static_cast<std::int64_t>(i));
      if (!row_scales.empty()) out[i] *= row_scales[i / static_cast<std::size_t>(tensor_.cols())];
    }
    return out;
  }
  /// Of the rows, where the elements are codes.
  Values scales() const {
    std::vector<float> now(scales_.size());
    if (!now.empty()) backend_.to_host(now.data(), tensor_.scales, tensor_.rows() * size_of(DType::f32));
    return {now.begin(), now.end()};
  }

  /// Nothing outside the elements was written.
  void check_canary() const {
    std::vector<std::uint8_t> image = download();
    for (std::int64_t i = 0; i < tensor_.elements(); ++i)
      std::memset(image.data() + at(i), canary, static_cast<std::size_t>(size_of(tensor_.dtype)));
    REQUIRE(image == std::vector<std::uint8_t>(image.size(), canary));
  }

 private:
  static constexpr std::uint8_t canary = 0xff;  // a NaN in every float type: an output never written shows too

  /// What a scale of 1 would make of values up to 1: some codes saturate, some of E4M3 are subnormal.
  float top() const {
    return tensor_.dtype == DType::e4m3 ? 8.0f : 0.75f * static_cast<float>(1 << (bits_of(tensor_.dtype) - 1));
  }
  std::size_t bit(std::int64_t i) const {
    return static_cast<std::size_t>(i / tensor_.cols() * row_bytes(tensor_.dtype, stride_) * 8 +
                                    i % tensor_.cols() * bits_of(tensor_.dtype));
  }
  std::size_t at(std::int64_t i) const { return bit(i) / 8; }
  std::vector<std::uint8_t> download() const {
    backend_.synchronize();
    std::vector<std::uint8_t> image(static_cast<std::size_t>(bytes_));
    backend_.to_host(image.data(), memory_, bytes_);
    return image;
  }
  void store(std::vector<std::uint8_t>& image, std::int64_t i, double value) const {
    const std::size_t offset = at(i);
    if (is_quantized(tensor_.dtype)) {
      const double scaled = value / static_cast<double>(scales_[static_cast<std::size_t>(i / tensor_.cols())]);
      const int bits = bits_of(tensor_.dtype), half = 1 << (bits - 1);
      const int code = tensor_.dtype == DType::e4m3
                           ? to_e4m3(static_cast<float>(scaled))
                           : std::clamp(static_cast<int>(std::lround(scaled)), -half, half - 1);
      for (int b = 0; b < bits; ++b) {
        std::uint8_t& byte = image[(bit(i) + static_cast<std::size_t>(b)) / 8];
        const auto mask = static_cast<std::uint8_t>(1 << ((bit(i) + static_cast<std::size_t>(b)) % 8));
        byte = static_cast<std::uint8_t>((code >> b & 1) != 0 ? byte | mask : byte & ~mask);
      }
      return;
    }
    const auto put = [&](auto x) { std::memcpy(image.data() + offset, &x, sizeof x); };
    if (tensor_.dtype == DType::bf16)
      put(to_bf16(static_cast<float>(value)));
    else if (tensor_.dtype == DType::i32)
      put(static_cast<std::int32_t>(value));
    else
      put(static_cast<float>(value));
  }
  double load(const std::vector<std::uint8_t>& image, std::int64_t i) const {
    const std::size_t offset = at(i);
    if (is_quantized(tensor_.dtype)) {
      const int bits = bits_of(tensor_.dtype);
      int code = 0;
      for (int b = 0; b < bits; ++b)
        code |= (image[(bit(i) + static_cast<std::size_t>(b)) / 8] >> ((bit(i) + static_cast<std::size_t>(b)) % 8) & 1)
                << b;
      if (tensor_.dtype == DType::e4m3) return e4m3_to_float(static_cast<std::uint8_t>(code));
      return code >= 1 << (bits - 1) ? code - (1 << bits) : code;
    }
    const auto get = [&](auto x) {
      std::memcpy(&x, image.data() + offset, sizeof x);
      return x;
    };
    if (tensor_.dtype == DType::bf16) return to_float(get(bf16{}));
    if (tensor_.dtype == DType::i32) return get(std::int32_t{});
    return get(float{});
  }

  Backend& backend_;
  std::int64_t stride_, bytes_;
  void* memory_;
  Tensor tensor_;
  std::vector<float> scales_;
};

/// One output of an op beside what it should be: |actual - expected| <= absolute + relative |expected|.
struct Output {
  std::string name;
  Values actual, expected;
  double relative, absolute;
};

/// An output as the op left it, its canary checked, with the bound that its type allows. `scale`: the size of the terms
/// that were added up to make it, for the absolute part.
inline Output output(std::string name, const Array& actual, Values expected, double scale = 1.0) {
  actual.check_canary();
  const bool rounded = actual.tensor().dtype == DType::bf16;
  return {std::move(name), actual.values(), std::move(expected), rounded ? 0x1p-8 : 1e-5,
          scale * (rounded ? 2e-5 : 2e-6)};
}

/// Codes and scales as the op left them, to be those of `expected` (the op's f32 output), quantized: every bit.
inline std::vector<Output> quantized_outputs(Backend& backend, const std::string& name, const Array& codes,
                                             const Array& expected) {
  const Tensor shape = expected.tensor();
  const Array right(backend, codes.tensor().dtype, shape.rows(), shape.cols());
  backend.quantize({.q = right, .x = expected});
  codes.check_canary();
  return {{name, codes.values(), right.values(), 0.0, 0.0},
          {name + " scales", codes.scales(), right.scales(), 0.0, 0.0}};
}

struct Case {
  std::string name;
  std::function<std::vector<Output>(Backend&)> run;
};

inline void check_outputs(const std::string& case_name, const std::vector<Output>& outputs) {
  for (const Output& out : outputs) {
    REQUIRE(out.actual.size() == out.expected.size());
    for (std::size_t i = 0; i < out.actual.size(); ++i) {
      const double bound = out.absolute + out.relative * std::abs(out.expected[i]);
      if (std::abs(out.actual[i] - out.expected[i]) <= bound) continue;
      FAIL(case_name << ": " << out.name << "[" << i << "] is " << out.actual[i] << ", expected " << out.expected[i]
                     << " within " << bound);
    }
  }
  SUCCEED(case_name);
}

/// Runs a table on a back end.
inline void check_cases(Backend& backend, const std::vector<Case>& cases) {
  REQUIRE_FALSE(cases.empty());
  for (const Case& c : cases) check_outputs(c.name, c.run(backend));
}

/// A back end with a workspace of its own, large enough for every case.
class TestBackend {
 public:
  explicit TestBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {
    // What the products of matrices need, and room for the scratch of every case.
    const std::int64_t bytes = backend_->workspace_bytes({}) + (std::int64_t{64} << 20);
    workspace_ = Tensor(backend_->allocate(bytes), DType::u8, Shape{bytes});
    backend_->bind_workspace(workspace_);
  }
  ~TestBackend() { backend_->release(workspace_.data, workspace_.bytes()); }
  TestBackend(const TestBackend&) = delete;
  TestBackend& operator=(const TestBackend&) = delete;
  Backend& operator*() const { return *backend_; }
  Backend* operator->() const { return backend_.get(); }

 private:
  std::unique_ptr<Backend> backend_;
  Tensor workspace_;
};

/// Rows and widths of the tables: every tail of a vector, and odd sizes beyond.
inline std::vector<std::int64_t> tail_sizes() {
  std::vector<std::int64_t> sizes;
  for (std::int64_t i = 1; i <= 65; ++i) sizes.push_back(i);
  for (const std::int64_t i : {127, 257, 640, 1001}) sizes.push_back(i);
  return sizes;
}

inline std::string text(DType dtype) {
  return std::string(name(dtype));
}
inline constexpr DType acts[] = {DType::f32, DType::bf16};
inline constexpr DType code_types[] = {DType::e4m3, DType::i8, DType::i7, DType::i6,
                                       DType::i5,   DType::i4, DType::i3, DType::i2};

}  // namespace bittern
