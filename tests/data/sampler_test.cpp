// The sampler: a bijection per epoch, golden orders, position as a pure function of the step.
#include "bittern/sampler.h"

#include <algorithm>
#include <set>

#include "catch.h"
#include "data/token_files.h"

using namespace bittern;
using namespace bittern_test;

namespace {

std::vector<std::int64_t> order(const Sampler& sampler, std::int64_t from, std::int64_t count) {
  std::vector<std::int64_t> windows;
  for (std::int64_t i = 0; i < count; ++i) windows.push_back(sampler.window(from + i));
  return windows;
}

// A sampler of exactly n windows.
Sampler of_windows(std::int64_t n, std::uint32_t seed, bool shuffle = true) {
  return Sampler(n * 8 + 1, 8, seed, shuffle);
}

}  // namespace

TEST_CASE("sampler: every epoch holds every window once, for every small size") {
  for (std::int64_t n = 1; n <= 300; ++n)
    for (const std::int64_t epoch : {0, 1, 5}) {
      std::vector<std::int64_t> windows = order(of_windows(n, 42), epoch * n, n);
      std::sort(windows.begin(), windows.end());
      bool all = true;
      for (std::int64_t i = 0; i < n; ++i) all = all && windows[static_cast<std::size_t>(i)] == i;
      CHECK(all);
    }
}

TEST_CASE("sampler: the golden order") {
  CHECK(order(of_windows(10, 1), 0, 20) ==
        std::vector<std::int64_t>{0, 2, 8, 9, 3, 1, 4, 5, 7, 6, 4, 1, 6, 3, 5, 0, 8, 2, 7, 9});
  CHECK(order(of_windows(1000, 1234567), 2500, 8) == std::vector<std::int64_t>{792, 742, 833, 203, 272, 951, 876, 278});
  // Trillions of tokens, an epoch beyond 2^32.
  const Sampler huge((std::int64_t{1} << 52) + 1, 1024, 7, true);
  CHECK(huge.sequences_per_epoch() == std::int64_t{1} << 42);
  CHECK(order(huge, (std::int64_t{1} << 62) + 3, 3) ==
        std::vector<std::int64_t>{3031526489961, 2816273383756, 3206721044361});
}

TEST_CASE("sampler: seeds and epochs have their own orders; without shuffling the order is the text's") {
  std::set<std::vector<std::int64_t>> orders;
  for (const std::uint32_t seed : {0u, 1u, 2u, 0xFFFFFFFFu})
    for (const std::int64_t epoch : {0, 1, 2}) orders.insert(order(of_windows(100, seed), epoch * 100, 100));
  CHECK(orders.size() == 12);
  CHECK(order(of_windows(3, 9, false), 0, 7) == std::vector<std::int64_t>{0, 1, 2, 0, 1, 2, 0});
}

TEST_CASE("sampler: places are evenly spread") {
  // Where window 0 lands over many epochs: chi-square with 15 degrees of freedom; 37.7 is exceeded once in a thousand.
  const Sampler sampler = of_windows(64, 3);
  double count[16] = {};
  for (std::int64_t epoch = 0; epoch < 1600; ++epoch) count[sampler.window(epoch * 64) / 4] += 1;
  double chi_square = 0;
  for (const double seen : count) chi_square += (seen - 100) * (seen - 100) / 100;
  CHECK(chi_square < 37.7);
}

TEST_CASE("sampler: windows stride the sequence length, and the last target exists") {
  CHECK(Sampler(9, 8, 0, true).sequences_per_epoch() == 1);
  CHECK(Sampler(16, 8, 0, true).sequences_per_epoch() == 1);
  CHECK(Sampler(17, 8, 0, true).sequences_per_epoch() == 2);
  for (const std::int64_t tokens : {0, 1, 8}) {
    const auto [code, message] = error_of([&] { Sampler(tokens, 8, 0, true); });
    CHECK(code == 2);
    CHECK(contains(message, "the data has " + std::to_string(tokens) + " tokens; expected at least 9"));
  }
  CHECK(error_of([] { Sampler(100, 0, 0, true); }).first == 2);
  CHECK(error_of([] { Sampler(100, INT64_MAX, 0, true); }).first == 2);
}

TEST_CASE("batches: targets are the inputs one place on, across shards") {
  const Folder folder;
  const TokenStream stream = TokenStream::open(write_prepared(folder, "d", {counting(99, 97)}, 300, 10));
  const Sampler sampler(stream.token_count(), 8, 5, true);
  Ids all(100);
  stream.read(0, all);
  const std::int64_t samples[] = {0, 3, 11, 12};
  Ids tokens(32), targets(32);
  fill_batch(stream, sampler, samples, tokens.data(), targets.data());
  for (std::size_t b = 0; b < 4; ++b)
    for (std::size_t t = 0; t < 8; ++t) {
      const std::size_t at = static_cast<std::size_t>(sampler.first_token(samples[b])) + t;
      CHECK(tokens[b * 8 + t] == all[at]);
      CHECK(targets[b * 8 + t] == all[at + 1]);
    }
}

TEST_CASE("batches: a run of 3 shards and 2 epochs resumed at every step reads the same tokens") {
  const Folder folder;
  const std::string path = write_prepared(folder, "d", {counting(70, 97), counting(60, 89), counting(50, 83)}, 300, 64);
  constexpr std::int64_t T = 8, batch = 3;
  const auto run = [&](std::int64_t from, std::int64_t to) {  // all that a resumed program has: the step
    const TokenStream stream = TokenStream::open(path);
    REQUIRE(stream.parts().size() == 3);
    const Sampler sampler(stream.token_count(), T, 11, true);
    Ids seen;
    for (std::int64_t step = from; step < to; ++step) {
      std::int64_t samples[batch];
      for (std::int64_t b = 0; b < batch; ++b) samples[b] = step * batch + b;
      Ids tokens(batch * T), targets(batch * T);
      fill_batch(stream, sampler, samples, tokens.data(), targets.data());
      seen.insert(seen.end(), tokens.begin(), tokens.end());
      seen.insert(seen.end(), targets.begin(), targets.end());
    }
    return seen;
  };
  const std::int64_t steps = 16;  // 22 windows an epoch, 48 samples
  const Ids whole = run(0, steps);
  for (std::int64_t cut = 0; cut <= steps; ++cut) {
    Ids pieces = run(0, cut);
    const Ids rest = run(cut, steps);
    pieces.insert(pieces.end(), rest.begin(), rest.end());
    CHECK(pieces == whole);
  }
}
