#include "ops/cases/embedding.h"

#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("embedding agrees with double precision on every instruction set and thread count") {
  check_on_cpu(embedding_cases());
}
