#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "bittern/model.h"
#include "catch.h"

using namespace bittern;

namespace {

/// The first weights of a small model that has biases, and norms on q and k.
struct Model {
  explicit Model(std::uint32_t seed, ResidualInit residual_init = ResidualInit::plain)
      : backend(make_cpu_backend(2)),
        model(*backend,
              {.vocab_size = 300,
               .hidden_size = 64,
               .num_hidden_layers = 2,
               .num_attention_heads = 4,
               .num_key_value_heads = 2,
               .head_dim = 16,
               .intermediate_size = 96,
               .initializer_range = 0.05,
               .residual_init = residual_init,
               .attention_bias = true,
               .qk_norm = true,
               .sub_norm = true},
              {.batch = 1, .sequence_length = 8}, plan) {
    plan.lay_out();
    arena = std::make_unique<Arena>(*backend, plan);
    model.bind(*arena);
    model.initialize(seed);
  }

  std::vector<float> values(const Parameter& parameter) const {
    const Tensor weight = arena->view(parameter.weight);
    std::vector<float> all(static_cast<std::size_t>(weight.elements()));
    backend->to_host(all.data(), weight.data, weight.bytes());
    return all;
  }

  std::unique_ptr<Backend> backend;
  Plan plan;
  Transformer model;
  std::unique_ptr<Arena> arena;
};

}  // namespace

TEST_CASE("initialize: norms 1, biases 0, everything else N(0, initializer_range), no two parameters alike") {
  const Model made(1);
  std::vector<float> firsts;
  for (const Parameter& parameter : made.model.parameters()) {
    INFO(parameter.spec.name);
    const std::vector<float> values = made.values(parameter);
    const auto all = [&](float x) { return std::ranges::all_of(values, [x](float v) { return v == x; }); };
    if (parameter.spec.name.ends_with(".bias")) {
      CHECK(all(0.0f));
    } else if (parameter.spec.role == Role::norm) {
      CHECK(all(1.0f));
    } else {
      double squares = 0;
      for (const float v : values) squares += static_cast<double>(v) * v;
      const double n = static_cast<double>(values.size());
      CHECK(std::abs(std::sqrt(squares / n) / 0.05 - 1) < 4 / std::sqrt(2 * n));
      firsts.push_back(values[0]);
    }
  }
  REQUIRE(firsts.size() == 2 + 2 * 7);
  std::ranges::sort(firsts);
  CHECK(std::ranges::adjacent_find(firsts) == firsts.end());
}

TEST_CASE("initialize is a function of the seed") {
  const Model a(1), b(1), c(2);
  const Parameter& embedding = a.model.parameters()[0];
  CHECK(a.values(embedding) == b.values(embedding));
  CHECK(a.values(embedding) != c.values(embedding));
}

TEST_CASE("initialize: scaled, o_proj and down_proj are the plain ones divided by sqrt(2 L); all else is equal") {
  const Model plain(1, ResidualInit::plain), scaled(1, ResidualInit::scaled);
  int smaller = 0;
  for (std::size_t i = 0; i < plain.model.parameters().size(); ++i) {
    const Parameter& parameter = plain.model.parameters()[i];
    INFO(parameter.spec.name);
    const std::vector<float> before = plain.values(parameter), after = scaled.values(scaled.model.parameters()[i]);
    if (parameter.spec.name.ends_with("o_proj.weight") || parameter.spec.name.ends_with("down_proj.weight")) {
      ++smaller;  // 2 layers: sqrt(2 L) is 2, and halves are exact
      CHECK(std::ranges::equal(before, after, {}, {}, [](float x) { return 2 * x; }));
    } else {
      CHECK(before == after);
    }
  }
  CHECK(smaller == 2 * 2);
}

TEST_CASE("initialize: auto is what a new run takes") {
  const Model automatic(1, ResidualInit::automatic), taken(1, residual_init_of_a_new_run);
  for (std::size_t i = 0; i < taken.model.parameters().size(); ++i)
    CHECK(automatic.values(automatic.model.parameters()[i]) == taken.values(taken.model.parameters()[i]));
}
