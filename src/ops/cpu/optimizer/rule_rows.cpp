// Makes loops over rows of the element functions of each update rule, and the table of these loops.
#include "ops/cpu/optimizer/rule_rows.h"

#include <array>

#include "ops/cpu/machine/lane_sums.h"
#include "ops/cpu/machine/simd.h"

namespace bittern::cpu {
namespace {

/// Element(w, m, v, g) over a row.
template <void (*Element)(float&, float&, float&, float, const RuleConstants&)>
void update_with_second_moment(float* w, float* m, float* v, const float* g, float clip, std::int64_t n,
                               const RuleConstants& constants) {
  simd([=] {
    const RuleConstants c = constants;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      float wi = w[i], mi = m[i], vi = v[i];
      Element(wi, mi, vi, g[i] * clip, c);
      w[i] = wi;
      m[i] = mi;
      v[i] = vi;
    }
  });
}

template <float (*Element)(float, float, const RuleConstants&)>
void second_moment(float* v, const float* g, float clip, std::int64_t n, const RuleConstants& constants) {
  simd([=] {
    const RuleConstants c = constants;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) v[i] = Element(v[i], g[i] * clip, c);
  });
}

template <void (*Element)(float&, float, const RuleConstants&)>
void eco_without_second_moment(float* m, const float*, const float* e, std::int64_t n, const RuleConstants& constants) {
  simd([=] {
    const RuleConstants c = constants;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      float mi = m[i];
      Element(mi, e[i], c);
      m[i] = mi;
    }
  });
}

void update_sgdm(float* w, float* m, float*, const float* g, float clip, std::int64_t n,
                 const RuleConstants& constants) {
  simd([=] {
    const RuleConstants c = constants;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      float wi = w[i], mi = m[i];
      sgdm(wi, mi, g[i] * clip, c);
      w[i] = wi;
      m[i] = mi;
    }
  });
}

/// g is the direction, which clipping does not change.
void update_muon(float* w, float*, float*, const float* g, float, std::int64_t n, const RuleConstants& constants) {
  simd([=] {
    const RuleConstants c = constants;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      float wi = w[i];
      muon(wi, g[i], c);
      w[i] = wi;
    }
  });
}

template <void (*Element)(float&, float, float, const RuleConstants&)>
void eco_with_second_moment(float* m, const float* v, const float* e, std::int64_t n, const RuleConstants& constants) {
  simd([=] {
    const RuleConstants c = constants;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      float mi = m[i];
      Element(mi, v[i], e[i], c);
      m[i] = mi;
    }
  });
}

float adafactor_update_square(const float* v, const float* g, float clip, std::int64_t n) {
  float sum = 0.0f;
  simd([&] {
    sum = lane_sum(n, [=](std::int64_t i) {
      const float u = adafactor_direction(v[i], g[i] * clip);
      return u * u;
    });
  });
  return sum;
}

constexpr auto table = std::to_array<RuleRows>({
    // in the order of UpdateRule
    {update_with_second_moment<adamw>, second_moment<adamw_second_moment>, eco_with_second_moment<adamw_eco>, nullptr},
    {update_sgdm, nullptr, eco_without_second_moment<sgdm_eco>, nullptr},
    {update_with_second_moment<adafactor>, second_moment<adafactor_second_moment>,
     eco_without_second_moment<adafactor_eco>, adafactor_update_square},
    {update_muon, nullptr, nullptr, nullptr},
});
static_assert(table.size() == update_rule_table.size());

}  // namespace

const RuleRows& rule_rows(UpdateRule rule) {
  return table[static_cast<std::size_t>(rule)];
}

}  // namespace bittern::cpu
