// ECO in a whole model: the codec and the injection touch the blocks' linears and nothing else, and what forward
// computes with are the codes.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "bittern/quant/fp8.h"
#include "catch.h"
#include "train/trained_model.h"

using namespace bittern;

namespace {

constexpr std::uint32_t steps = 12;

const char* const eco_fp8 = R"("block_linear": {"codec": "fp8_e4m3", "scale_per": "row", "rounding": "stochastic",
    "error_feedback": "eco"})";
const char* const naive_fp8 = R"("block_linear": {"codec": "fp8_e4m3", "scale_per": "row", "rounding": "stochastic"})";
const char* const eco_int4 =
    R"("block_linear": {"codec": "int", "bits": 4, "scale_per": "tensor", "rounding": "nearest",
    "error_feedback": "eco"})";

}  // namespace

TEST_CASE("eco in a model: embedding, head and norms are updated as they are without any codec") {
  Trained eco(with_weights(eco_fp8)), plain(with_weights(""));
  for (std::uint32_t step = 1; step <= steps; ++step) {
    eco.compute(step);
    const std::vector<Tensor> from = eco.run->model->gradients(), to = plain.run->model->gradients();
    for (std::size_t i = 0; i < from.size(); ++i) plain.run->backend->copy({.to = to[i], .from = from[i]});
    eco.update(step);
    plain.update(step);
  }
  std::size_t linears = 0;
  for (std::size_t i = 0; i < eco.run->model->parameters().size(); ++i) {
    const Parameter &a = eco.run->model->parameters()[i], &b = plain.run->model->parameters()[i];
    CAPTURE(a.spec.name);
    CHECK(eco.values(a.v.codes) == plain.values(b.v.codes));  // eco never touches v
    if (is_linear(a)) {
      CHECK(eco.values(a.m.codes) != plain.values(b.m.codes));
      ++linears;
      continue;
    }
    CHECK(eco.values(a.weight) == plain.values(b.weight));
    CHECK(eco.values(a.m.codes) == plain.values(b.m.codes));
  }
  CHECK(linears == 14);
}

TEST_CASE("eco in a model: the config's decay factor and cap reach the injection") {
  // The first step of all four makes the same weights; what differs is what rounding's error adds to m.
  const auto first_step = [](const std::vector<std::string>& settings, const char* codec = eco_fp8) {
    auto model = std::make_unique<Trained>(with_weights(codec, settings));
    model->compute(1);
    model->update(1);
    return model;
  };
  const auto naive = first_step({}, naive_fp8), eco = first_step({}),
             decayed = first_step({"optimizer.eco.decay_factor=true"}),
             capped = first_step({"optimizer.eco.cap=0.005"});
  std::size_t parted = 0, cut = 0;
  for (std::size_t i = 0; i < eco->run->model->parameters().size(); ++i) {
    const Parameter& parameter = eco->run->model->parameters()[i];
    if (!is_linear(parameter)) continue;
    CAPTURE(parameter.spec.name);
    const auto m = [&](const std::unique_ptr<Trained>& of) {
      return of->values(of->run->model->parameters()[i].m.codes);
    };
    CHECK(eco->weight(parameter) == decayed->weight(decayed->run->model->parameters()[i]));
    CHECK(eco->weight(parameter) == capped->weight(capped->run->model->parameters()[i]));
    const std::vector<float> without = m(naive), whole = m(eco), with_factor = m(decayed), with_cap = m(capped);
    const std::vector<float> v = eco->values(parameter.v.codes);
    std::size_t wrong_factor = 0, wrong_cap = 0;
    for (std::size_t k = 0; k < whole.size(); ++k) {
      const double injected = static_cast<double>(whole[k]) - static_cast<double>(without[k]);
      if (std::abs(injected) >
          0.03 * std::abs(static_cast<double>(without[k]))) {  // where float can tell 0.9995 from 1
        ++parted;
        const double factor = (static_cast<double>(with_factor[k]) - static_cast<double>(without[k])) / injected;
        wrong_factor += std::abs(factor - (1.0 - 0.005 * 0.1)) > 5e-5;
      }
      // v of the first step is 0.05 g^2; its root, corrected, is |g|.
      const double limit = 0.005 * std::sqrt(static_cast<double>(v[k]) / 0.05);
      const double expected = std::clamp(injected, -limit, limit);
      cut += std::abs(injected) > limit;
      wrong_cap += std::abs(static_cast<double>(with_cap[k]) - static_cast<double>(without[k]) - expected) >
                   1e-6 * std::abs(static_cast<double>(without[k])) + 1e-5 * limit;
    }
    CHECK(wrong_factor == 0);
    CHECK(wrong_cap == 0);
  }
  CHECK(parted > 1000);
  CHECK(cut > 1000);
}

TEST_CASE("eco in a model: weights are on their grid after every step, and it is with them that forward computes") {
  for (const char* const codec : {eco_fp8, eco_int4}) {
    Trained eco(with_weights(codec)), plain(with_weights(""));
    const double highest = codec == eco_fp8 ? largest_e4m3 : 7.0;
    for (std::uint32_t step = 1; step <= steps; ++step) {
      CAPTURE(codec, step);
      for (std::size_t i = 0; i < eco.run->model->parameters().size(); ++i) {
        const Parameter& parameter = eco.run->model->parameters()[i];
        const std::vector<float> w = eco.weight(parameter);
        plain.run->model->load_parameter(plain.run->model->parameters()[i], w);
        if (!is_linear(parameter)) continue;
        const std::vector<float> scales = eco.scales(parameter);
        const std::size_t cols = w.size() / scales.size();
        double largest_of_all = 0;
        std::size_t off_grid = 0;
        for (std::size_t r = 0; r < scales.size(); ++r) {
          double largest = 0;
          for (std::size_t c = 0; c < cols; ++c) {
            const double level = static_cast<double>(w[r * cols + c]) / static_cast<double>(scales[r]);
            largest = std::max(largest, std::abs(level));
            // E4M3: three bits behind the leading one, or multiples of 2^-9; integers: whole numbers.
            const int exponent =
                std::max(codec == eco_fp8 ? std::ilogb(std::abs(level) + 1e-6) - 3 : 0, codec == eco_fp8 ? -9 : 0);
            const double steps_of_grid = std::ldexp(level, -exponent);
            off_grid += std::abs(steps_of_grid - std::round(steps_of_grid)) > 1e-4;
          }
          if (codec == eco_fp8) CHECK(largest == Approx(highest).epsilon(1e-6));  // the scale of a row is its largest
          largest_of_all = std::max(largest_of_all, largest);
        }
        CHECK(off_grid == 0);
        CHECK(largest_of_all == Approx(highest).epsilon(1e-6));
      }
      CHECK(eco.compute(step) == Approx(plain.compute(step)).epsilon(1e-5));
      eco.update(step);
    }
  }
}

TEST_CASE("eco in a model: the first step differs from the naive one in the first moments of the linears alone") {
  Trained eco(with_weights(eco_fp8)), naive(with_weights(naive_fp8));
  for (Trained* each : {&eco, &naive}) {
    each->compute(1);
    each->update(1);
  }
  for (std::size_t i = 0; i < eco.run->model->parameters().size(); ++i) {
    const Parameter &a = eco.run->model->parameters()[i], &b = naive.run->model->parameters()[i];
    CAPTURE(a.spec.name);
    CHECK(eco.weight(a) == naive.weight(b));
    CHECK(eco.values(a.v.codes) == naive.values(b.v.codes));
    CHECK((eco.values(a.m.codes) == naive.values(b.m.codes)) == !is_linear(a));
  }
  // From then on the weights differ too, and both learn.
  double first = 0, last_eco = 0, last_naive = 0;
  for (std::uint32_t step = 2; step <= 60; ++step) {
    last_eco = eco.compute(step);
    last_naive = naive.compute(step);
    if (step == 2) first = last_eco;
    eco.update(step);
    naive.update(step);
  }
  CHECK(last_eco < first - 0.5);
  CHECK(last_naive < first - 0.5);
  CHECK(last_eco != last_naive);
}
