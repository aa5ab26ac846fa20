// The plan: lifetimes share memory only when they do not overlap, and what is planned is what is allocated.
#include "bittern/plan.h"

#include "catch.h"

using namespace bittern;

TEST_CASE("plan: tensors that live at the same time never overlap") {
  Plan plan;
  std::vector<TensorId> ids;
  for (int i = 0; i < 60; ++i) {
    const int first = (i * 7) % 20, last = first + (i * 5) % 9;
    ids.push_back(plan.add("t" + std::to_string(i), Shape{1 + (i * 37) % 113, 3}, i % 3 ? DType::f32 : DType::bf16,
                           Category::activations, i % 5 ? Lifetime{Point(first), Point(last)} : whole_run));
  }
  plan.lay_out();
  for (const TensorId a : ids)
    for (const TensorId b : ids) {
      if (a.index >= b.index) continue;
      const PlannedTensor &x = plan[a], &y = plan[b];
      if (x.lifetime.first > y.lifetime.last || y.lifetime.first > x.lifetime.last) continue;
      INFO(x.name << " and " << y.name);
      CHECK((x.offset + x.bytes() <= y.offset || y.offset + y.bytes() <= x.offset));
    }
  for (const TensorId id : ids) {
    CHECK(plan[id].offset % 64 == 0);
    CHECK(plan[id].offset + plan[id].bytes() <= plan.arena_bytes());
  }
}

TEST_CASE("plan: lives that follow each other share memory") {
  Plan plan;
  const TensorId a = plan.add("a", Shape{1000}, DType::f32, Category::scratch, {Point(0), Point(1)});
  const TensorId b = plan.add("b", Shape{1000}, DType::f32, Category::scratch, {Point(2), Point(3)});
  const TensorId c = plan.add("c", Shape{1000}, DType::f32, Category::scratch, {Point(1), Point(2)});
  plan.lay_out();
  CHECK(plan[a].offset == plan[b].offset);
  CHECK(plan[c].offset != plan[a].offset);
  CHECK(plan.arena_bytes() == 2 * 4032);  // 4000 bytes, aligned to 64
  CHECK(plan.shared_bytes() == plan.arena_bytes());
}

TEST_CASE("plan: stacked tensors lie next to each other without a gap, and one view serves them") {
  Plan plan;
  plan.add("before", Shape{3}, DType::f32, Category::weights);
  const std::vector<Plan::Part> parts = {{"q", 5}, {"k", 3}, {"v", 2}};
  const auto ids = plan.add_stacked(parts, 7, DType::bf16, Category::weights);
  plan.lay_out();
  CHECK(plan[ids[1]].offset == plan[ids[0]].offset + 5 * 7 * 2);
  CHECK(plan[ids[2]].offset == plan[ids[1]].offset + 3 * 7 * 2);
  CHECK(plan.whole_run_bytes(Category::weights) == 12 + 10 * 7 * 2);
  const auto backend = make_cpu_backend(1);
  const Arena arena(*backend, plan);
  const Tensor stack = arena.view_stacked(ids.front(), ids.back());
  CHECK(stack.shape == Shape{10, 7});
  CHECK(stack.data == arena.view(ids.front()).data);
  CHECK(arena.bytes() == plan.arena_bytes());
}

TEST_CASE("plan: a stack lives as long as it is said, shares memory as one, and keeps its order") {
  Plan plan;
  const std::vector<Plan::Part> parts = {{"q", 5}, {"k", 3}, {"v", 2}};
  const auto a = plan.add_stacked(parts, 7, DType::f32, Category::gradients, {Point(0), Point(0)});
  const TensorId between = plan.add("x", Shape{100}, DType::f32, Category::scratch, {Point(0), Point(1)});
  const auto b = plan.add_stacked(parts, 7, DType::f32, Category::gradients, {Point(1), Point(1)});
  plan.lay_out();
  CHECK(plan[a[0]].offset == plan[b[0]].offset);
  for (const auto& ids : {a, b}) {
    CHECK(plan[ids[1]].offset == plan[ids[0]].offset + 5 * 7 * 4);
    CHECK(plan[ids[2]].offset == plan[ids[1]].offset + 3 * 7 * 4);
    const std::int64_t end = plan[ids[2]].offset + plan[ids[2]].bytes();
    CHECK((end <= plan[between].offset || plan[between].offset + plan[between].bytes() <= plan[ids[0]].offset));
  }
  CHECK(plan.whole_run_bytes(Category::gradients) == 0);
  CHECK(plan.most_at_once(Category::gradients) == 10 * 7 * 4);
  CHECK(plan.shared_bytes() == plan.arena_bytes());
  const auto backend = make_cpu_backend(1);
  const Arena arena(*backend, plan);
  CHECK(arena.view_stacked(b.front(), b.back()).shape == Shape{10, 7});
}

TEST_CASE("plan: the most of a category at one point") {
  Plan plan;
  plan.add("a", Shape{10}, DType::f32, Category::gradients);
  plan.add("b", Shape{20}, DType::f32, Category::gradients, {Point(0), Point(1)});
  plan.add("c", Shape{30}, DType::f32, Category::gradients, {Point(2), Point(3)});
  plan.add("d", Shape{5}, DType::f32, Category::gradients, {Point(3), Point(3)});
  plan.add("e", Shape{1000}, DType::f32, Category::scratch, {Point(0), Point(3)});
  plan.lay_out();
  CHECK(plan.most_at_once(Category::gradients) == 4 * (10 + 30 + 5));
  CHECK(plan.most_at_once(Category::weights) == 0);
}

TEST_CASE("plan: tensors of the host lie in memory of their own, and alignment is the back end's") {
  Plan plan(256);
  const TensorId a = plan.add("a", Shape{3}, DType::f32, Category::weights);
  const TensorId copy = plan.add_on_host("copy", Shape{5}, DType::u8, Category::snapshot);
  const TensorId b = plan.add("b", Shape{3}, DType::f32, Category::weights);
  plan.lay_out();
  CHECK(plan[a].offset == 0);
  CHECK(plan[b].offset == 256);
  CHECK(plan[copy].offset == 0);
  CHECK(plan.arena_bytes(Place::device) == 512);
  CHECK(plan.arena_bytes(Place::host) == 256);
  CHECK(plan.arena_bytes() == 768);
  CHECK(plan.shared_bytes() == 0);
  const auto backend = make_cpu_backend(1);
  const Arena arena(*backend, plan);
  CHECK(backend->allocated_bytes() == 768);
  CHECK(arena.view(copy).data != arena.view(a).data);
}

TEST_CASE("plan: a matrix that is made wider keeps its rows, and is never made narrower") {
  Plan plan;
  const TensorId id = plan.add("m", Shape{5, 8}, DType::f32, Category::scratch);
  plan.widen(id, 12);
  plan.widen(id, 3);
  CHECK(plan[id].shape == Shape{5, 12});
  plan.lay_out();
  CHECK_THROWS(plan.widen(id, 20));
}

TEST_CASE("plan: nothing can be added after the layout, so no tensor escapes the table") {
  Plan plan;
  plan.add("a", Shape{1}, DType::f32, Category::scratch);
  plan.lay_out();
  CHECK_THROWS_AS(plan.add("b", Shape{1}, DType::f32, Category::scratch), Error);
}
