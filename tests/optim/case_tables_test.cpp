// test_optim --backend NAME --time: the optimizer's combinations on a back end (ops/case_tables.h). What two steps leave and
// tell must have the bits that the CPU's portable kernels give, in one thread.
#include "ops/case_tables.h"

#include <array>

#include "ops/every_isa.h"
#include "optim/combinations.h"

namespace bittern {
namespace {

/// Compared bit for bit: a number that is not finite has bits as well.
std::vector<Output> as_outputs(const Outcome& actual, const Outcome& expected) {
  const auto bits = [](const std::vector<float>& numbers) {
    Values out;
    for (const float x : numbers) out.push_back(static_cast<double>(float_bits(x)));
    return out;
  };
  return {{"bytes", Values(actual.bytes.begin(), actual.bytes.end()),
           Values(expected.bytes.begin(), expected.bytes.end()), 0.0, 0.0},
          {"statistics", bits(actual.statistics), bits(expected.statistics), 0.0, 0.0}};
}

Outcome on_portable_kernels(const StepOptions& options, bool with_statistics) {
  const cpu::Settings settings;
  cpu::set_isa(cpu::Isa::portable);
  return outcome(*TestBackend(make_cpu_backend(1)), options, with_statistics);
}

/// Every `each`th combination. Sums for the metrics take time of their own: what is timed has none.
std::vector<Case> combinations_of(const Shape& shape, int each, bool with_statistics) {
  std::vector<Case> cases;
  int number = 0;
  for_combinations(shape, [&](const StepOptions& options) {
    if (number++ % each != 0) return;
    cases.push_back({name_of(options), [options, with_statistics](Backend& backend) {
                       const Outcome actual = outcome(backend, options, with_statistics);
                       return as_outputs(actual, on_portable_kernels(options, with_statistics));
                     }});
  });
  return cases;
}

constexpr auto tables = std::to_array<CaseTable>({
    {"optimizer_step",
     [] {
       return combinations_of(Shape{5, 613}, 1, true);
     },
     [] {
       return combinations_of(Shape{512, 1024}, 61, false);
     }},
});

[[maybe_unused]] const bool registered = [] {
  take_options() = [](std::vector<std::string>& arguments) {
    return take_table_options(arguments, tables, "[tables_asked]");
  };
  return true;
}();

}  // namespace

TEST_CASE("case tables: the optimizer's combinations, where the options ask for them", "[tables_asked]") {
  run_tables_asked(tables);
}

}  // namespace bittern
