// rule_rows: the update rules over rows of fp32 values, a table by UpdateRule.
#pragma once

#include <cstdint>

#include "bittern/optim/update_rule.h"

namespace bittern::cpu {

struct RuleRows {
  /// w, m, v (n) in place from g (n) * clip. A moment that is not kept (v of a rule without one, m where beta1 is 0) is
  /// scratch that holds zeros.
  void (*update)(float* w, float* m, float* v, const float* g, float clip, std::int64_t n, const RuleConstants& c);
  /// v (n) alone, for statistics that must come before. Null for a rule without one.
  void (*second_moment)(float* v, const float* g, float clip, std::int64_t n, const RuleConstants& c);
  /// ECO: m (n) takes up the errors e (n); v is the updated one. Null for a rule without error feedback.
  void (*eco)(float* m, const float* v, const float* e, std::int64_t n, const RuleConstants& c);
  /// Sum of squares of the update before clipping, for a rule that clips it; v is the updated one. Else null.
  float (*update_square)(const float* v, const float* g, float clip, std::int64_t n);
};

const RuleRows& rule_rows(UpdateRule rule);

}  // namespace bittern::cpu
