// Makes the table of `train --profile`: a row for each op.
#include "train/session/profile_table.h"

#include <algorithm>
#include <vector>

#include "bittern/error.h"

namespace bittern {

std::string profile_table(const Profile& profile, double seconds, std::int64_t steps, const MachineLimits& limits) {
  const double peak_gflops = 1e-9 * limits.gemm_flops, stream_gbs = 1e-9 * limits.stream_bytes;
  std::vector<std::pair<std::string_view, OpCost>> rows(profile.costs().begin(), profile.costs().end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::string out = fmt::format("{:<30} {:>9} {:>9} {:>6} {:>9} {:>9} {:>8}\n", "op", "calls", "ms/step", "%", "GB/s",
                                "GFLOP/s", "of limit");
  double in_ops = 0;
  for (const auto& [op, cost] : rows) {
    in_ops += cost.seconds;
    const double gbs = cost.bytes / cost.seconds * 1e-9, gflops = cost.flops / cost.seconds * 1e-9;
    out += fmt::format("{:<30} {:>9} {:>9.2f} {:>5.1f}% {:>9.1f} {:>9.1f} {:>7.0f}%\n", op, cost.calls / steps,
                       1e3 * cost.seconds / static_cast<double>(steps), 100 * cost.seconds / seconds, gbs, gflops,
                       100 * std::max(gbs / stream_gbs, gflops / peak_gflops));
  }
  out += fmt::format("{:<30} {:>9} {:>9.2f} {:>5.1f}%\n", "outside ops", "",
                     1e3 * (seconds - in_ops) / static_cast<double>(steps), 100 * (seconds - in_ops) / seconds);
  out += fmt::format("limits, measured now: {:.0f} GFLOP/s (GEMM), {:.1f} GB/s (2 reads, 1 write)\n", peak_gflops,
                     stream_gbs);
  return out;
}

}  // namespace bittern
