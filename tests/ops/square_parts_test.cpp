// The norm of all gradients: sums of squares by parts, and the norm and the clip scale made of them.
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "bittern/device_memory.h"
#include "bittern/row_parts.h"
#include "ops/cpu.h"

using namespace bittern;

namespace {

/// Gradients in a back end's memory, and the parts of their squares.
struct Gradients {
  Backend& backend;
  std::vector<std::unique_ptr<Array>> arrays;
  std::vector<Tensor> all;

  explicit Gradients(Backend& backend_) : backend(backend_) {}
  void add(std::int64_t rows, std::int64_t cols, const Values& values) {
    arrays.push_back(std::make_unique<Array>(backend, DType::f32, rows, cols, values));
    all.push_back(arrays.back()->tensor());
  }
  std::vector<double> parts(std::span<const Tensor> of) const {
    std::int64_t count = 0;
    for (const Tensor& gradient : of) count += square_parts_of(gradient);
    const DeviceMemory memory(backend, 8 * count);
    backend.square_parts({.parts = Tensor(memory.data(), DType::u8, Shape{8 * count}), .gradients = of});
    std::vector<double> values(static_cast<std::size_t>(count));
    backend.to_host(values.data(), memory.data(), 8 * count);
    return values;
  }
  Values norm(float max_norm) const {
    const std::vector<double> sums = parts(all);
    const auto bytes = static_cast<std::int64_t>(8 * sums.size());
    const DeviceMemory memory(backend, bytes);
    backend.from_host(memory.data(), sums.data(), bytes);
    const Array norm(backend, DType::f32, 1, 2);
    backend.norm_of_parts(
        {.norm = norm, .parts = Tensor(memory.data(), DType::u8, Shape{bytes}), .max_norm = max_norm});
    norm.check_canary();
    return norm.values();
  }
};

double squares(const Values& values, std::int64_t first, std::int64_t last) {
  double sum = 0;
  for (std::int64_t i = first; i < last; ++i)
    sum += values[static_cast<std::size_t>(i)] * values[static_cast<std::size_t>(i)];
  return sum;
}

}  // namespace

TEST_CASE("square_parts: each part of rows is the sum of its squares, for any number of threads") {
  std::vector<double> before;
  for (const int threads : {1, 2, 3}) {
    const TestBackend backend(make_cpu_backend(threads));
    Gradients gradients(*backend);
    std::vector<double> expected;
    std::uint32_t seed = 0;
    for (const auto& [rows, cols] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {1, 31}, {1, 70000}, {33, 7}, {64, 129}, {2049, 40}, {5000, 3}}) {
      gradients.add(rows, cols, noise(++seed, rows * cols));
      const Values values = gradients.arrays.back()->values();
      const std::int64_t parts = row_parts(rows);
      for (std::int64_t part = 0; part < parts; ++part)
        expected.push_back(
            squares(values, part_begin(rows, parts, part) * cols, part_begin(rows, parts, part + 1) * cols));
    }
    const std::vector<double> got = gradients.parts(gradients.all);
    REQUIRE(got.size() == expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(expected[i]).epsilon(1e-13));
    if (!before.empty()) CHECK(got == before);
    before = got;
  }
}

TEST_CASE("square_parts: a bucket at a time, and a shard's rows, give the parts of all") {
  const TestBackend backend(make_cpu_backend(2));
  Gradients gradients(*backend);
  gradients.add(100, 9, noise(1, 900));
  gradients.add(1, 50, noise(2, 50));
  const std::vector<double> all = gradients.parts(gradients.all);
  std::vector<double> joined;
  for (const Tensor& one : gradients.all)
    for (const double part : gradients.parts({&one, 1})) joined.push_back(part);
  CHECK(joined == all);
  // Rows 0 to 24 are the first of four parts.
  const Tensor shard = gradients.all[0].slice_rows(0, part_begin(100, 4, 1));
  CHECK(gradients.parts({&shard, 1}) == std::vector<double>{all[0]});
}

TEST_CASE("norm_of_parts: norm and clip scale by worked numbers, just below and above the limit") {
  const TestBackend backend(make_cpu_backend(1));
  const auto clip = [&](const Values& gradient, float max_norm) {
    Gradients gradients(*backend);
    gradients.add(1, static_cast<std::int64_t>(gradient.size()), gradient);
    return gradients.norm(max_norm);
  };
  CHECK(clip({6, 8}, 1.0f) == Values{10, static_cast<double>(0.1f)});
  CHECK(clip({0.6, 0.8}, 1.0f)[1] == 1.0);
  CHECK(clip({3, 4}, 5.0f) == Values{5, 1});
  CHECK(clip({3, 4}, 4.9999f)[1] < 1.0);
  CHECK(clip({3, 4}, 5.0001f)[1] == 1.0);
  CHECK(clip({3, 4}, 0.0f) == Values{5, 1});  // 0: no clipping
  CHECK(clip({0, 0}, 1.0f) == Values{0, 1});
  CHECK(Gradients(*backend).norm(1.0f) == Values{0, 1});
}

TEST_CASE("norm_of_parts: squares that a float cannot hold are added all the same") {
  const TestBackend backend(make_cpu_backend(1));
  for (const double scale : {1e25, 1e-30}) {
    Gradients gradients(*backend);
    gradients.add(10, 100, noise(1, 1000, scale));
    const double length = std::sqrt(squares(gradients.arrays[0]->values(), 0, 1000));
    CHECK(gradients.norm(0.0f)[0] == Approx(length).epsilon(1e-6));
  }
}

TEST_CASE("norm_of_parts: any non-finite gradient makes the norm non-finite") {
  const TestBackend backend(make_cpu_backend(2));
  for (const double bad : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()})
    for (const std::size_t where : {0u, 15u, 16u, 20000u, 39999u}) {
      Values gradient(40000, 1.0);
      gradient[where] = bad;
      Gradients gradients(*backend);
      gradients.add(1, 7, Values(7, 1.0));
      gradients.add(400, 100, gradient);
      CHECK_FALSE(std::isfinite(gradients.norm(1.0f)[0]));
    }
}

TEST_CASE("square_parts: parts of another size are refused") {
  const TestBackend backend(make_cpu_backend(1));
  const Array gradient(*backend, DType::f32, 40, 3);
  const Tensor all[] = {gradient};
  std::vector<double> three(3);
  CHECK_THROWS_WITH(backend->square_parts({.parts = Tensor(three.data(), DType::u8, Shape{24}), .gradients = all}),
                    "square_parts: parts must have 16 elements without gaps, got (24)");
}
