// SOLO's precision-specific momentum (arXiv 2505.00347, section 3.4): with b' bits a first moment wants a beta1 for which
//   beta' / (1 - beta') r(b') <= beta / (1 - beta) r(b)
// where beta is known to work with b bits, and r(b) is the median of half the distances of b-bit levels. bittern has no
// code for it: betas are given in configs, and these are the numbers that they come from.
#include <algorithm>
#include <cmath>
#include <vector>

#include "bittern/quant/codebook.h"
#include "catch.h"

using namespace bittern;

namespace {

double median_half_distance(const char* name) {
  const Codebook& book = *find_codebook(name);
  std::vector<double> half;
  for (std::int32_t k = 1; k < book.levels; ++k)
    half.push_back((static_cast<double>(book.level[k]) - static_cast<double>(book.level[k - 1])) / 2);
  std::sort(half.begin(), half.end());
  const std::size_t n = half.size();
  return (half[n / 2] + half[(n - 1) / 2]) / 2;
}

double beta_of(double beta, double r, double r_of_fewer) {
  const double k = beta / (1 - beta) * r / r_of_fewer;
  return k / (1 + k);
}

}  // namespace

TEST_CASE("momentum rule: the signed dynamic maps' median distance halves with each bit") {
  CHECK(median_half_distance("de2") == Approx(.275));
  CHECK(median_half_distance("de3") == Approx(.135));
  CHECK(median_half_distance("de4") == Approx(.0675));
  CHECK(median_half_distance("dynamic8") == Approx(.00421875));
}

TEST_CASE("momentum rule: .9 at 8 bits gives the betas of training from scratch, .9 at 5 bits those of fine-tuning") {
  const struct {
    const char* book;
    double scratch, scratch_printed, tuning, tuning_printed, used_scratch, used_tuning;
  } rows[] = {{"de4", .360, .350, .818, .820, .3, .8},
              {"de3", .220, .211, .692, .694, .2, .6},
              {"de2", .121, .116, .525, .527, .1, .5}};
  constexpr double five_bits = .03375;  // no codebook of bittern's has five
  for (const auto& row : rows) {
    CAPTURE(row.book);
    const double r = median_half_distance(row.book);
    const double scratch = beta_of(.9, median_half_distance("dynamic8"), r), tuning = beta_of(.9, five_bits, r);
    CHECK(std::fabs(scratch - row.scratch) < .001);
    CHECK(std::fabs(tuning - row.tuning) < .001);
    // The paper's table, whose median is of a slightly other set, and the rounded values that recipes take are no more.
    CHECK(std::fabs(scratch - row.scratch_printed) < .0125);
    CHECK(std::fabs(tuning - row.tuning_printed) < .0125);
    CHECK(row.used_scratch <= scratch);
    CHECK(row.used_tuning <= tuning);
  }
}
