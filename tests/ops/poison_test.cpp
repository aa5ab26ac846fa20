// Poison: what is dead is NaN, what lives is untouched.
#include "bittern/poison.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.h"

using namespace bittern;

namespace {

/// a lives at 0 and 1, b at 1 and 2, c at 3; d through the whole run, w is scratch of the whole run.
struct Fixture {
  Plan plan;
  TensorId a = plan.add("a", Shape{100}, DType::f32, Category::activations, {Point(0), Point(1)});
  TensorId b = plan.add("b", Shape{100}, DType::bf16, Category::activations, {Point(1), Point(2)});
  TensorId c = plan.add("c", Shape{100}, DType::f32, Category::activations, {Point(3), Point(3)});
  TensorId d = plan.add("d", Shape{100}, DType::f32, Category::weights);
  TensorId w = plan.add("w", Shape{100}, DType::u8, Category::scratch);
  std::unique_ptr<Backend> backend = make_cpu_backend(1);
  std::unique_ptr<Arena> arena;
  std::unique_ptr<Poison> poison;

  Fixture() {
    plan.lay_out();
    arena = std::make_unique<Arena>(*backend, plan);
    poison = std::make_unique<Poison>(*backend, *arena);
  }
  std::vector<float> read(TensorId id) const {
    std::vector<float> values(100);
    backend->to_host(values.data(), arena->view(id).data, 400);
    return values;
  }
  void write(TensorId id, float value) const {
    const std::vector<float> values(100, value);
    backend->from_host(arena->view(id).data, values.data(), arena->view(id).bytes());
  }
  bool all_nan(TensorId id) const {
    return std::ranges::all_of(read(id), [](float x) { return std::isnan(x); });
  }
};

}  // namespace

TEST_CASE("poison: a tensor is NaN when its life begins, stays while it lives, and is NaN when it has ended") {
  const Fixture f;
  f.write(f.d, 7.0f);
  f.poison->reach(Point(0));
  CHECK(f.all_nan(f.a));
  f.write(f.a, 1.0f);
  f.poison->reach(Point(1));
  CHECK(f.read(f.a) == std::vector<float>(100, 1.0f));
  f.poison->reach(Point(2));
  CHECK(f.all_nan(f.a));
  f.poison->reach(Point(3));
  f.write(f.c, 3.0f);
  f.poison->reach(Point(3));  // again the same point: generation goes on
  CHECK(f.read(f.c) == std::vector<float>(100, 3.0f));
  CHECK(f.read(f.d) == std::vector<float>(100, 7.0f));
  CHECK(static_cast<unsigned char*>(f.arena->view(f.w).data)[99] == 0xff);
}

TEST_CASE("poison: a new pass begins with nothing but what lives through the run") {
  const Fixture f;
  f.poison->reach(Point(0));
  f.write(f.a, 1.0f);
  f.poison->reach(Point(1));
  f.poison->reach(Point(0));
  CHECK(f.all_nan(f.a));
}
