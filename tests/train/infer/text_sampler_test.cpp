// From logits to a token: what temperature, top-k, top-p and the seed do, on fixed logits.
#include "train/infer/text_sampler.h"

#include <cmath>
#include <limits>
#include <map>

#include "catch.h"

using namespace bittern;

namespace {

// Probabilities 1/2, 1/4, 1/8, 1/16, 1/16 at temperature 1, in no order of their ids.
const std::vector<float> logits = {std::log(0.25f), std::log(0.0625f), std::log(0.5f), std::log(0.125f),
                                   std::log(0.0625f)};
constexpr std::int32_t likeliest = 2;
constexpr std::uint64_t draws = 20000;

std::int32_t draw(const SamplingOptions& options, std::uint64_t position) {
  return sample_token(logits, options, position);
}

/// How often each id comes out, as fractions.
std::map<std::int32_t, double> fractions(const SamplingOptions& options) {
  std::map<std::int32_t, double> counts;
  for (std::uint64_t position = 0; position < draws; ++position) counts[draw(options, position)] += 1.0 / draws;
  return counts;
}

/// Within five standard deviations of a draw's frequency.
void check_fractions(const SamplingOptions& options, const std::map<std::int32_t, double>& expected) {
  const std::map<std::int32_t, double> found = fractions(options);
  CHECK(found.size() == expected.size());
  for (const auto& [id, p] : expected) {
    INFO("id " << id);
    REQUIRE(found.contains(id));
    CHECK(std::abs(found.at(id) - p) < 1e-9 + 5 * std::sqrt(p * (1 - p) / draws));
  }
}

}  // namespace

TEST_CASE("sampling: temperature 0 and top-k 1 take the most likely token, whatever the seed") {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    CHECK(draw({.temperature = 0, .seed = seed}, seed) == likeliest);
    CHECK(draw({.temperature = 1, .top_k = 1, .seed = seed}, seed) == likeliest);
    CHECK(draw({.temperature = 100, .top_k = 1, .seed = seed}, seed) == likeliest);
    CHECK(draw({.temperature = 1, .top_p = 0, .seed = seed}, seed) == likeliest);
    CHECK(draw({.temperature = 1e-3, .seed = seed}, seed) == likeliest);
  }
  CHECK(sample_token(std::vector<float>{1, 3, 3, 2}, {.temperature = 0}, 0) == 1);  // of equals the first
}

TEST_CASE("sampling: tokens come out as often as the softmax of logits / temperature says") {
  check_fractions({.temperature = 1}, {{0, 0.25}, {1, 0.0625}, {2, 0.5}, {3, 0.125}, {4, 0.0625}});
  // Half the temperature squares the probabilities: 64, 16, 4, 1, 1 of 86.
  check_fractions({.temperature = 0.5}, {{0, 16. / 86}, {1, 1. / 86}, {2, 64. / 86}, {3, 4. / 86}, {4, 1. / 86}});
}

TEST_CASE("sampling: top-k keeps k tokens, of equal ones the first, and their proportions") {
  check_fractions({.temperature = 1, .top_k = 2}, {{0, 1. / 3}, {2, 2. / 3}});
  check_fractions({.temperature = 1, .top_k = 4}, {{0, 4. / 15}, {1, 1. / 15}, {2, 8. / 15}, {3, 2. / 15}});
  for (const std::int64_t all : {0, 5, 1000}) CHECK(fractions({.temperature = 1, .top_k = all}).size() == 5);
}

TEST_CASE("sampling: top-p keeps the fewest tokens that together have at least that probability") {
  check_fractions({.temperature = 1, .top_p = 0.4}, {{2, 1.0}});
  check_fractions({.temperature = 1, .top_p = 0.6}, {{0, 1. / 3}, {2, 2. / 3}});
  check_fractions({.temperature = 1, .top_p = 0.8}, {{0, 2. / 7}, {2, 4. / 7}, {3, 1. / 7}});
  // Of what top-k left: 1/2 of 3/4 is already two thirds.
  check_fractions({.temperature = 1, .top_k = 2, .top_p = 0.6}, {{2, 1.0}});
}

TEST_CASE("sampling: a choice is a function of seed, position and stream") {
  const auto text = [](std::uint32_t seed, std::uint32_t stream) {
    std::vector<std::int32_t> ids;
    for (std::uint64_t position = 0; position < 100; ++position)
      ids.push_back(sample_token(logits, {.temperature = 1, .seed = seed}, position, stream));
    return ids;
  };
  CHECK(text(1, 0) == text(1, 0));
  CHECK(text(1, 0) != text(2, 0));
  CHECK(text(1, 0) != text(1, 7));
}

TEST_CASE("sampling: logits that are not finite never choose a token that is worse than another") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (std::uint64_t position = 0; position < 200; ++position)
    for (const double temperature : {0.0, 1.0}) {
      CHECK(sample_token(std::vector<float>{nan, 1, -inf}, {.temperature = temperature}, position) == 1);
      CHECK(sample_token(std::vector<float>{1, inf, 2}, {.temperature = temperature}, position) == 1);
      CHECK(sample_token(std::vector<float>{nan, nan}, {.temperature = temperature}, position) == 0);
    }
}
