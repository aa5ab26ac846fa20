// test_ops --backend NAME --op OP --time: the tables of cases of every op on a back end (case_tables.h).
#include "ops/case_tables.h"

#include <array>
#include <set>
#include <variant>

#include "bittern/noted_call.h"
#include "ops/cases/attention.h"
#include "ops/cases/cross_entropy.h"
#include "ops/cases/embedding.h"
#include "ops/cases/glu.h"
#include "ops/cases/linear.h"
#include "ops/cases/qk_norm_rope.h"
#include "ops/cases/quantize.h"
#include "ops/cases/residual_rmsnorm.h"
#include "ops/cases/step.h"

namespace bittern {
namespace {

/// A case of each type of activations.
template <class F>
std::vector<Case> of_acts(F make) {
  std::vector<Case> cases;
  for (const DType act : acts)
    for (Case& c : make(act)) cases.push_back(std::move(c));
  return cases;
}

constexpr AttentionShape shape{.batch = 2, .sequence_length = 256, .heads = 8, .kv_heads = 4, .head_dim = 64};

constexpr auto tables = std::to_array<CaseTable>({
    {"embedding", embedding_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const EmbeddingCase c{.N = 2048, .V = 4096, .C = 512, .w = t, .act = t};
         return {{c.name() + " forward", [c](Backend& b) { return c.forward(b); }},
                 {c.name() + " backward", [c](Backend& b) { return c.backward(b); }}};
       });
     }},
    {"residual_rmsnorm", residual_rmsnorm_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const RmsnormCase c{.N = 2048, .C = 512, .x = t, .y = t, .sum = t, .n = t};
         return {{c.name() + " forward", [c](Backend& b) { return c.forward(b); }},
                 {c.name() + " backward", [c](Backend& b) { return c.backward(b); }}};
       });
     }},
    {"qk_norm_rope", qk_norm_rope_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const QkNormRopeCase c{.shape = shape, .norm = true, .qkv = t, .raw = t};
         return {{c.name() + " forward", [c](Backend& b) { return c.forward(b); }},
                 {c.name() + " backward", [c](Backend& b) { return c.backward(b); }}};
       });
     }},
    {"attention", attention_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const AttentionOnBackend c{.of = {.shape = shape, .dtype = t}};
         return {{c.name(), [c](Backend& b) { return c.forward_and_backward(b); }}};
       });
     }},
    {"glu", glu_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const GluCase c{.N = 1024, .F = 1408, .gate_up = t, .out = t, .dout = t};
         return {{c.name() + " forward", [c](Backend& b) { return c.forward(b); }},
                 {c.name() + " backward", [c](Backend& b) { return c.backward(b); }}};
       });
     }},
    {"linear", linear_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const LinearCase c{.N = 512, .O = 512, .I = 512, .x = t, .w = t, .y = t, .compute = t};
         return {{c.name(), [c](Backend& b) { return c.run(b); }}};
       });
     }},
    {"bias", bias_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const BiasCase c{.N = 2048, .O = 1536, .dy = t};
         return {
             {fmt::format("bias_backward N={} O={} dy={}", c.N, c.O, text(t)), [c](Backend& b) { return c.run(b); }}};
       });
     }},
    {"cross_entropy", cross_entropy_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const CrossEntropyCase c{.R = 64, .V = 32000, .logits = t};
         return {{c.name(), [c](Backend& b) { return c.run(b); }}};
       });
     }},
    {"quantize", quantize_cases,
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const QuantizeCase c{.N = 2048, .C = 512, .x = t, .q = DType::e4m3};
         return {
             {fmt::format("quantize N={} C={} {} -> e4m3", c.N, c.C, text(t)), [c](Backend& b) { return c.run(b); }}};
       });
     }},
    {"begin_step", begin_step_cases, [] { return std::vector<Case>{}; }},
    {"add_losses", add_losses_cases,
     []() -> std::vector<Case> {
       const AddLossesCase c{.N = 32768};
       return {{c.name(), [c](Backend& b) { return c.run(b); }}};
     }},
    {"square_parts", square_parts_cases,
     []() -> std::vector<Case> {
       const SquarePartsCase c{.shapes = {{1536, 512}, {512, 512}, {2816, 512}, {512, 1408}}};
       return {{c.name(), [c](Backend& b) { return c.run(b); }}};
     }},
    {"norm_of_parts", norm_of_parts_cases, [] { return std::vector<Case>{}; }},
    {"decide_step", decide_step_cases, [] { return std::vector<Case>{}; }},
    {"decide_bucket", decide_bucket_cases, [] { return std::vector<Case>{}; }},
    {"copy", copy_cases,  // and zero
     [] {
       return of_acts([](DType t) -> std::vector<Case> {
         const CopyCase c{.rows = 2048, .cols = 512, .to = t, .from = DType::f32};
         return {{fmt::format("copy 2048x512 f32 -> {}", text(t)), [c](Backend& b) { return c.run(b); }}};
       });
     }},
});

[[maybe_unused]] const bool registered = [] {
  take_options() = [](std::vector<std::string>& arguments) {
    return take_table_options(arguments, tables, "[tables_asked]");
  };
  return true;
}();

std::string without_pass(std::string_view name) {
  for (const std::string_view pass : {"_forward", "_backward", "_backward_input", "_backward_weight", "_cached"})
    if (name.ends_with(pass)) return std::string(name.substr(0, name.size() - pass.size()));
  return std::string(name);
}

template <std::size_t... I>
std::set<std::string> names_of_ops(std::index_sequence<I...>) {
  return {without_pass(std::variant_alternative_t<I, OpArgs>::name)...};
}

}  // namespace

TEST_CASE("case tables: every op has one") {
  std::set<std::string> with_table = {"zero",  // in copy's
                                      // in tests/optim
                                      "encode_weight", "optimizer_step"};
  for (const CaseTable& table : tables) with_table.insert(std::string(table.op));
  CHECK(names_of_ops(std::make_index_sequence<std::variant_size_v<OpArgs>>()) == with_table);
}

TEST_CASE("case tables: those that the options ask for", "[tables_asked]") {
  run_tables_asked(tables);
}

TEST_CASE("case tables: the ops of a step") {
  const TestBackend backend(make_cpu_backend(2));
  for (const auto& cases : {begin_step_cases(), add_losses_cases(), square_parts_cases(), norm_of_parts_cases(),
                            decide_step_cases(), decide_bucket_cases()})
    check_cases(*backend, cases);
}

TEST_CASE("case tables: a wrong number is an error above 1") {
  const auto error = [](double actual) { return largest_error({{"x", {1.0, actual}, {1.0, 2.0}, 0.0, 0.5}}); };
  CHECK(error(2.25) == 0.5);
  CHECK(error(3.0) > 1);
  CHECK(error(std::nan("")) > 1);
  CHECK(largest_error({{"exact", {1.0}, {1.0}, 0.0, 0.0}}) == 0);
  CHECK(largest_error({{"exact", {1.0}, {1.5}, 0.0, 0.0}}) > 1);
}

}  // namespace bittern
