// The table of `--profile N`, by worked numbers.
#include "train/session/profile_table.h"

#include "catch.h"

using namespace bittern;

TEST_CASE("profile: the table of two ops over two steps, the dearest first, against the nearer limit") {
  Profile profile;
  profile.add("glu_forward", 0.25, {.bytes = 10e9});  // 40 GB/s, half of what memory gives
  profile.add("linear_forward", 1.0, {.bytes = 20e9, .flops = 150e9});
  profile.add("linear_forward", 0.5,
              {.bytes = 10e9, .flops = 150e9});  // in all 20 GB/s, a quarter; 200 GFLOP/s, four fifths
  const std::string table = profile_table(profile, 2.0, 2, {.gemm_flops = 250e9, .stream_bytes = 80e9});
  CHECK(table ==
        "op                                 calls   ms/step      %      GB/s   GFLOP/s of limit\n"
        "linear_forward                         1    750.00  75.0%      20.0     200.0      80%\n"
        "glu_forward                            0    125.00  12.5%      40.0       0.0      50%\n"
        "outside ops                                 125.00  12.5%\n"
        "limits, measured now: 250 GFLOP/s (GEMM), 80.0 GB/s (2 reads, 1 write)\n");
}
