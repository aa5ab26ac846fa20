// What ranks tell each other about small things of the host, made of exchanges.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "bittern/world.h"

namespace bittern {
namespace {

/// Dissemination: in round k every rank passes on the up to 2^k blocks that it has, so all have all after log2 N rounds.
/// blocks: those of rank, rank + 1, ..., each of `bytes` bytes.
void gather_blocks(Link& link, const RankInfo& info, std::span<std::byte> blocks, std::size_t bytes) {
  for (int have = 1; have < info.ranks; have *= 2) {
    const auto count = static_cast<std::size_t>(std::min(have, info.ranks - have)) * bytes;
    const int to = (info.rank - have + info.ranks) % info.ranks, from = (info.rank + have) % info.ranks;
    const Outgoing out{to, blocks.first(count)};
    const Incoming in{from, blocks.subspan(static_cast<std::size_t>(have) * bytes, count)};
    link.exchange({&out, 1}, {&in, 1});
  }
}

std::function<void(Link&)> all_gather_job(const RankInfo& info, std::vector<std::byte> mine, std::byte* all) {
  return [&info, mine = std::move(mine), all](Link& link) {
    const std::size_t bytes = mine.size(), ranks = static_cast<std::size_t>(info.ranks),
                      own = static_cast<std::size_t>(info.rank);
    std::vector<std::byte> blocks(bytes * ranks);
    std::ranges::copy(mine, blocks.begin());
    gather_blocks(link, info, blocks, bytes);
    std::copy_n(blocks.begin(), bytes * (ranks - own), all + bytes * own);
    std::copy_n(blocks.begin() + static_cast<std::ptrdiff_t>(bytes * (ranks - own)), bytes * own, all);
  };
}

}  // namespace

void World::all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::string what) {
  check(all.size() == mine.size() * static_cast<std::size_t>(info_.ranks), "{}: {} bytes from each of {} ranks into {}",
        what, mine.size(), info_.ranks, all.size());
  if (info_.alone()) {
    std::ranges::copy(mine, all.begin());
    return;
  }
  wait(submit(std::move(what), all_gather_job(info_, {mine.begin(), mine.end()}, all.data())));
}

std::vector<std::string> World::all_gather_text(std::string_view mine) {
  const std::vector<std::uint64_t> sizes = all_gather(static_cast<std::uint64_t>(mine.size()));
  const std::size_t longest = std::ranges::max(sizes);
  std::vector<std::byte> padded(longest), all(longest * sizes.size());
  std::ranges::copy(std::as_bytes(std::span(mine)), padded.begin());
  all_gather(padded, all);
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < sizes.size(); ++rank)
    texts.emplace_back(reinterpret_cast<const char*>(all.data() + rank * longest), sizes[rank]);
  return texts;
}

void World::broadcast(std::string& bytes, int root) {
  if (info_.alone()) return;
  const std::vector<std::uint64_t> sizes = all_gather(static_cast<std::uint64_t>(bytes.size()));
  bytes.resize(sizes[static_cast<std::size_t>(root)]);
  // A tree of log2 N rounds: counted from the root, rank i hands to i + have what it got before.
  wait(submit("broadcast", [this, &bytes, root](Link& link) {
    const int place = (info_.rank - root + info_.ranks) % info_.ranks;
    const auto rank_at = [&](int at) { return (at + root) % info_.ranks; };
    for (int have = 1; have < info_.ranks; have *= 2) {
      const Outgoing out{rank_at(place + have), std::as_bytes(std::span(bytes))};
      const Incoming in{rank_at(place + info_.ranks - have), std::as_writable_bytes(std::span(bytes))};
      if (place < have && place + have < info_.ranks) link.exchange({&out, 1}, {});
      if (place >= have && place < 2 * have) link.exchange({}, {&in, 1});
    }
  }));
}

void World::barrier() {
  static_cast<void>(all_gather(std::byte{}));
}

bool World::any_before(bool mine) {
  if (info_.alone()) return mine;
  bool any = false;
  if (last_vote_ != 0) {
    wait(last_vote_);
    any = std::ranges::any_of(votes_, [](std::byte vote) { return vote != std::byte{}; });
  }
  votes_.resize(static_cast<std::size_t>(info_.ranks));
  last_vote_ = submit("vote", all_gather_job(info_, {std::byte{mine}}, votes_.data()));
  return any;
}

void World::throw_together(std::string_view what, const std::exception_ptr& mine) {
  std::string text;  // empty: well; else the exit code as one byte, then the message
  if (mine) try {
      std::rethrow_exception(mine);
    } catch (const Error& error) {
      text = static_cast<char>(error.exit_code()) + std::string(error.what());
    } catch (const std::exception& error) {
      text = static_cast<char>(ExitCode::failure) + std::string(error.what());
    }
  struct Outcome {
    std::array<char, 256> host{};
    bool failed = false;
  } outcome;
  outcome.failed = !text.empty();
  info_.host.copy(outcome.host.data(), outcome.host.size() - 1);
  const std::vector<Outcome> outcomes = all_gather(outcome);
  const auto first = std::ranges::find_if(outcomes, &Outcome::failed);
  if (first == outcomes.end()) return;
  const std::vector<std::string> texts = all_gather_text(text);
  const auto rank = static_cast<std::size_t>(first - outcomes.begin());
  const std::string& said = texts[rank];
  const bool all_say_it = std::ranges::all_of(texts, [&](const std::string& other) { return other == said; });
  const auto code = static_cast<ExitCode>(said.front());
  if (all_say_it) throw Error(code, said.substr(1));
  throw Error(code, fmt::format("rank {} on host {}: {}: {}", rank, first->host.data(), what, said.substr(1)));
}

}  // namespace bittern
