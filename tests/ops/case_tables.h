// The tables of cases by op, and their options:
//   test_ops --list                              the back ends and the ops that have a table
//   test_ops --backend cpu [--op TEXT] [--time]  runs the tables of the ops whose names hold TEXT on that back end:
//                                                every case against its reference; with --time also the larger cases,
//                                                each with its time, GB/s and GFLOP/s
// Without these options the executable is Catch2's. A second back end is tested by a row more in `test_backends`.
#pragma once

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/profile.h"
#include "catch_main.h"
#include "ops/cases.h"

namespace bittern {

struct TestedBackend {
  std::string_view name;
  std::unique_ptr<Backend> (*make)();
};
/// Objects that are linked to the executable may add theirs.
inline std::vector<TestedBackend>& test_backends() {
  static std::vector<TestedBackend> all = {{"cpu", [] { return make_cpu_backend(0); }}};
  return all;
}

struct CaseTable {
  std::string_view op;            ///< as in ops.h, without _forward and _backward
  std::vector<Case> (*cases)();   ///< small: every size of a tail, every type
  std::vector<Case> (*larger)();  ///< few, at sizes that a model has: for times
};

/// What the options ask for.
struct TablesAsked {
  std::string_view backend;  ///< empty: no tables, Catch2 as usual
  std::string op;
  bool time = false;
};
inline TablesAsked& tables_asked() {
  static TablesAsked asked;
  return asked;
}

/// Reads the options above. `tag`: of the test that runs the tables which are asked for.
inline std::optional<int> take_table_options(std::vector<std::string>& arguments, std::span<const CaseTable> tables,
                                             const char* tag) {
  TablesAsked& asked = tables_asked();
  std::vector<std::string> rest;
  bool ours = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    const std::string value = i + 1 < arguments.size() ? arguments[i + 1] : "";
    if (option == "--list") {
      std::cout << "back ends:";
      for (const TestedBackend& backend : test_backends()) std::cout << ' ' << backend.name;
      std::cout << "\nops:";
      for (const CaseTable& table : tables) std::cout << ' ' << table.op;
      std::cout << '\n';
      return 0;
    }
    if (option == "--time") {
      asked.time = ours = true;
    } else if (option == "--op") {
      asked.op = value;
      ours = true;
      ++i;
    } else if (option == "--backend") {
      const auto named = [&](const TestedBackend& b) { return b.name == value; };
      const auto found = std::find_if(test_backends().begin(), test_backends().end(), named);
      if (found == test_backends().end()) {
        std::cerr << "--backend " << value << ": there is no such back end; --list names them\n";
        return 2;
      }
      asked.backend = found->name;
      ours = true;
      ++i;
    } else {
      rest.push_back(option);
    }
  }
  if (!ours) return std::nullopt;
  if (asked.backend.empty()) asked.backend = test_backends().front().name;
  const auto holds = [&](const CaseTable& table) { return table.op.find(asked.op) != std::string_view::npos; };
  if (std::none_of(tables.begin(), tables.end(), holds)) {
    std::cerr << "--op " << asked.op << ": no op's name holds that; --list names them\n";
    return 2;
  }
  rest.emplace_back(tag);
  arguments = rest;
  return std::nullopt;
}

/// The largest error of a case's outputs, as a part of what is allowed; above 1: wrong.
inline double largest_error(const std::vector<Output>& outputs) {
  double largest = 0;
  for (const Output& out : outputs) {
    if (out.actual.size() != out.expected.size()) return std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < out.actual.size(); ++i) {
      const double error = std::abs(out.actual[i] - out.expected[i]);
      const double bound = out.absolute + out.relative * std::abs(out.expected[i]);
      if (std::isnan(error)) return std::numeric_limits<double>::infinity();
      if (error > 0) largest = std::max(largest, error / bound);
    }
  }
  return largest;
}

/// Runs a case a few times: its error, and of every op in it the shortest time of a call.
inline void time_case(Backend& backend, const Case& c) {
  struct Best {
    double seconds = 1e30;
    Cost cost;
  };
  std::map<std::string, Best> ops;
  double error = 0;
  for (int round = 0; round < 5; ++round) {
    Profile profile;
    Profile::current() = &profile;
    const std::vector<Output> outputs = c.run(backend);
    Profile::current() = nullptr;
    if (round == 0) error = largest_error(outputs);
    for (const auto& [op, sum] : profile.costs()) {
      const double calls = static_cast<double>(sum.calls);
      Best& best = ops[std::string(op)];
      best.seconds = std::min(best.seconds, sum.seconds / calls);
      best.cost = {sum.bytes / calls, sum.flops / calls};
    }
  }
  CHECK(error <= 1);
  fmt::print("{:<8} {:.2f} of what is allowed: {}\n", error <= 1 ? "right" : "WRONG", error, c.name);
  for (const auto& [op, best] : ops)
    fmt::print("         {:<28} {:>9.3f} ms {:>8.1f} GB/s {:>8.1f} GFLOP/s\n", op, 1e3 * best.seconds,
               1e-9 * best.cost.bytes / best.seconds, 1e-9 * best.cost.flops / best.seconds);
}

/// What the options ask for; nothing without them.
inline void run_tables_asked(std::span<const CaseTable> tables) {
  const TablesAsked& asked = tables_asked();
  for (const TestedBackend& row : test_backends()) {
    if (row.name != asked.backend) continue;
    const TestBackend backend(row.make());
    fmt::print("{}\n", backend->description());
    for (const CaseTable& table : tables) {
      if (table.op.find(asked.op) == std::string_view::npos) continue;
      const std::vector<Case> cases = table.cases();
      double largest = 0;
      std::size_t wrong = 0;
      for (const Case& c : cases) {
        INFO(c.name);
        const double error = largest_error(c.run(*backend));
        CHECK(error <= 1);
        wrong += !(error <= 1);
        largest = std::max(largest, error);
      }
      fmt::print("{}: {} cases, {} wrong, largest error {:.2f} of what is allowed\n", table.op, cases.size(), wrong,
                 largest);
      if (asked.time)
        for (const Case& c : table.larger()) time_case(*backend, c);
    }
  }
}

}  // namespace bittern
