#include "ops/cases/cross_entropy.h"

#include <limits>

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("cross_entropy: the reference's gradient is the numeric one, z-loss included") {
  const double scale = 0.3, z_loss = 0.05;
  const Values logits = noise(1, 7, 3.0);
  const auto loss = [&](const Values& v) {
    const reference::CrossEntropy c = reference::cross_entropy(v, 2, scale, z_loss);
    return scale * (c.loss + z_loss * c.lse * c.lse);
  };
  check_outputs("cross_entropy", {{"dlogits", reference::cross_entropy(logits, 2, scale, z_loss).dlogits,
                                   reference::numeric_gradient(loss, logits), 1e-6, 1e-7}});
}

TEST_CASE("cross_entropy agrees with double precision on every instruction set and thread count") {
  check_on_cpu(cross_entropy_cases());
}

namespace {

/// Loss and gradient of one row.
std::pair<double, Values> one_row(Backend& backend, const Values& logits, double target, DType dtype = DType::f32) {
  const Array x(backend, dtype, 1, static_cast<std::int64_t>(logits.size()), logits),
      t(backend, DType::i32, 1, 1, {target});
  const Array loss(backend, DType::f32, 1, 1), squared(backend, DType::f32, 1, 1),
      one(backend, DType::f32, 1, 1, {1.0});
  backend.cross_entropy({.logits = x,
                         .targets = t,
                         .loss = loss,
                         .lse_squared = squared,
                         .scale = one,
                         .z_loss = 0.0f,
                         .backward = true});
  return {loss.values()[0], x.values()};
}

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("cross_entropy: logits of -inf have probability 0, also where they fill the first block") {
  const TestBackend backend(make_cpu_backend(1));
  for (const DType dtype : acts) {
    Values logits(5000, -infinity);
    logits[4000] = 1.0;
    logits[4999] = 1.0;
    const auto [loss, gradient] = one_row(*backend, logits, 4000, dtype);
    CHECK(std::abs(loss - std::log(2.0)) < 1e-6);
    CHECK(std::abs(gradient[4000] + 0.5) < 1e-6);
    CHECK(std::abs(gradient[4999] - 0.5) < 1e-6);
    CHECK(std::count(gradient.begin(), gradient.end(), 0.0) == 4998);
  }
}

TEST_CASE("cross_entropy: huge logits do not overflow") {
  const TestBackend backend(make_cpu_backend(1));
  const auto [loss, gradient] = one_row(*backend, {1e30, -1e30, 1e30}, 0);
  CHECK(std::abs(loss) < 1e24);
  CHECK(std::abs(gradient[0] + 0.5) < 1e-6);
  CHECK(gradient[1] == 0.0);
}

TEST_CASE("cross_entropy: NaN and +inf show in the loss") {
  const TestBackend backend(make_cpu_backend(1));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(std::isfinite(one_row(*backend, {0.0, nan, 1.0}, 0).first));
  CHECK_FALSE(std::isfinite(one_row(*backend, {0.0, infinity, 1.0}, 0).first));
  CHECK_FALSE(std::isfinite(one_row(*backend, {-infinity, -infinity}, 0).first));
}

TEST_CASE("cross_entropy: unequal micro-batches with masks, scaled by the whole batch's targets, equal one batch") {
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t R = 11, V = 37;
  const Values logits = noise(1, R * V, 3.0), targets = {3, -1, 5, -1, -1, 36, 0, 7, -1, 9, 1};
  const Array scale(*backend, DType::f32, 1, 1, {1.0 / 7.0});
  const auto run = [&](std::int64_t first, std::int64_t rows, double& loss_sum) {
    const Array x(*backend, DType::f32, rows, V,
                  Values(logits.begin() + first * V, logits.begin() + (first + rows) * V));
    const Array t(*backend, DType::i32, 1, rows, Values(targets.begin() + first, targets.begin() + first + rows));
    const Array loss(*backend, DType::f32, 1, rows), squared(*backend, DType::f32, 1, rows);
    backend->cross_entropy({.logits = x,
                            .targets = t,
                            .loss = loss,
                            .lse_squared = squared,
                            .scale = scale,
                            .z_loss = 0.0f,
                            .backward = true});
    for (const double l : loss.values()) loss_sum += l;
    return x.values();
  };
  double whole_loss = 0, parts_loss = 0;
  const Values whole = run(0, R, whole_loss);
  Values parts = run(0, 4, parts_loss);
  for (const double v : run(4, 1, parts_loss)) parts.push_back(v);
  for (const double v : run(5, 6, parts_loss)) parts.push_back(v);
  CHECK(same_bits(whole, parts));
  CHECK(std::abs(whole_loss - parts_loss) < 1e-9);
}

TEST_CASE("cross_entropy: the loss alone needs no scale, the gradient does") {
  const TestBackend backend(make_cpu_backend(1));
  const Array x(*backend, DType::f32, 1, 3), t(*backend, DType::i32, 1, 1, {1}), loss(*backend, DType::f32, 1, 1),
      squared(*backend, DType::f32, 1, 1);
  CrossEntropy args{.logits = x, .targets = t, .loss = loss, .lse_squared = squared, .z_loss = 0.0f, .backward = false};
  CHECK_NOTHROW(backend->cross_entropy(args));
  args.backward = true;
  CHECK_THROWS_WITH(backend->cross_entropy(args),
                    "cross_entropy: scale must have 1 elements without gaps, got () without data");
}
