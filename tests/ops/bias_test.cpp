#include "ops/cases/linear.h"
#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("bias_backward agrees with double precision on every instruction set and thread count") {
  check_on_cpu(bias_cases());
}
