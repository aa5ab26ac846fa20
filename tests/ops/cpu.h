// The CPU back end under test: every instruction set of the machine, and thread counts that must not change a bit.
#pragma once

#include <cstring>
#include <vector>

#include "ops/cases.h"
#include "ops/every_isa.h"

namespace bittern {

inline bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

/// Every case on every instruction set: with one thread against double precision, with 2, 3 and 8 bit for bit alike.
inline void check_on_cpu(const std::vector<Case>& cases) {
  REQUIRE_FALSE(cases.empty());
  cpu::on_every_isa([&] {
    std::vector<std::vector<Output>> once;
    for (const int threads : {1, 2, 3, 8}) {
      const TestBackend backend(make_cpu_backend(threads));
      for (std::size_t i = 0; i < cases.size(); ++i) {
        std::vector<Output> outputs = cases[i].run(*backend);
        if (threads == 1) {
          check_outputs(cases[i].name, outputs);
          once.push_back(std::move(outputs));
          continue;
        }
        for (std::size_t k = 0; k < outputs.size(); ++k) {
          INFO(cases[i].name << ": " << outputs[k].name << " with " << threads << " threads");
          REQUIRE(same_bits(outputs[k].actual, once[i][k].actual));
        }
      }
    }
  });
}

}  // namespace bittern
