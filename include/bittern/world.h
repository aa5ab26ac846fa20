// World: the processes (ranks) that run one command together, and what they tell each other. One process is a world of
// one, and needs no MPI. The network moves bytes and never adds: every sum is made by an op, in one fixed order.
//
// All calls to the network are made by one thread, the network thread, which takes jobs in order. MPI makes progress
// only inside its calls, so the thread is also what lets an exchange go on while the main thread computes.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "bittern/error.h"

namespace bittern {

/// Which of the ranks this one is.
struct RankInfo {
  int rank = 0, ranks = 1;
  int local_rank = 0, local_ranks = 1;  ///< among those of this machine, by rank
  int node = 0, nodes = 1;              ///< machines, in the order of their lowest ranks
  std::string host{};

  bool alone() const { return ranks == 1; }
  bool speaks() const { return rank == 0; }  ///< rank 0 alone writes to the terminal and into the run's folder
};

struct Outgoing {
  int to;
  std::span<const std::byte> bytes;
};
struct Incoming {
  int from;
  std::span<std::byte> bytes;
};

/// The network as a job sees it. Messages from one rank to another arrive in the order of posts; both ends give the same
/// sizes. Nothing is sent to the rank itself.
class Link {
 public:
  Link() = default;
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Begins to send and to receive, and returns. At most two posts are under way at a time; the memory stays as it is
  /// until finish().
  int post(std::span<const Outgoing> out, std::span<const Incoming> in) {
    for (const Outgoing& message : out) sent_ += static_cast<std::int64_t>(message.bytes.size());
    return begin(out, in);
  }
  /// Returns when everything of that post has arrived and left. Throws when nothing of it moved for the time-out, naming
  /// the ranks that are missing.
  virtual void finish(int post) = 0;
  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) { finish(post(out, in)); }

  /// Told before each job.
  virtual void next_job(std::int64_t number, const std::string& what) = 0;
  std::int64_t bytes_sent() const { return sent_; }
  void set_timeout(std::chrono::seconds timeout) { timeout_ = timeout.count(); }

 protected:
  virtual int begin(std::span<const Outgoing> out, std::span<const Incoming> in) = 0;
  std::chrono::seconds timeout() const { return std::chrono::seconds(timeout_.load()); }

 private:
  std::int64_t sent_ = 0;
  std::atomic<std::int64_t> timeout_ = 600;
};

/// What bytes are sent for.
enum class TrafficKind : std::uint8_t { host, reduced, gathered };
/// Bytes that this rank has sent, by what for.
struct Traffic {
  std::int64_t host = 0, reduced = 0, gathered = 0;
  std::int64_t all() const { return host + reduced + gathered; }
};

using JobNumber = std::int64_t;  ///< from 1 on; 0: none

class World {
 public:
  /// A world of one: nothing is ever submitted to it.
  World();
  virtual ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const RankInfo& info() const { return info_; }

  /// Runs the job on the network thread, after those before it. Every rank submits the same jobs in the same order, from
  /// one thread. `what` says it in messages: "reduce block 12".
  JobNumber submit(std::string what, std::function<void(Link&)> job, TrafficKind kind = TrafficKind::host);
  /// Returns when the job is done; throws what it, or one before it, threw. After that nothing runs any more.
  void wait(JobNumber job);

  // ---- Small things of the host. They block, and every rank makes the same calls.
  /// all: ranks times mine.size() bytes, by rank.
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all, std::string what = "all-gather");
  template <class T>
  std::vector<T> all_gather(const T& mine) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::vector<T> all(static_cast<std::size_t>(info_.ranks));
    all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
    return all;
  }
  std::vector<std::string> all_gather_text(std::string_view mine);
  /// `bytes` becomes that of rank `root`.
  void broadcast(std::string& bytes, int root);
  void barrier();
  /// What any rank said at the call before this one, so nobody waits for the slowest; false at the first. Alone: what is
  /// said now.
  bool any_before(bool mine);

  /// f on every rank. If it threw on some, every rank throws the error of the lowest of these, who is named unless all
  /// said the same. For what happens before and between steps: the ranks stay together, and only rank 0 is to print it.
  template <class F>
  void together(std::string_view what, F f);

  /// Ends all processes with this code, which is never 0. Does not return.
  [[noreturn]] virtual void abort(int code);
  /// How long an exchange may stand still.
  void set_timeout(std::chrono::seconds timeout);

  Traffic traffic() const;
  /// Seconds that this rank has stood in wait().
  double seconds_waited() const { return seconds_waited_; }

 protected:
  /// Starts the network thread, which takes no signals and makes its link itself. Throws what make_link throws.
  void start_network(std::function<std::unique_ptr<Link>()> make_link);
  /// Does what was submitted, destroys the link in its thread, and ends that.
  void stop_network();
  RankInfo info_;

 private:
  struct Network;
  void throw_together(std::string_view what, const std::exception_ptr& mine);

  std::unique_ptr<Network> network_;
  JobNumber last_vote_ = 0;
  std::vector<std::byte> votes_;
  double seconds_waited_ = 0;
};

template <class F>
void World::together(std::string_view what, F f) {
  if (info_.alone()) return f();
  std::exception_ptr mine;
  try {
    f();
  } catch (...) {
    mine = std::current_exception();
  }
  throw_together(what, mine);
}

/// How many processes a launcher says that it has started: 1 where there is none. It looks at the environment alone.
int launched_ranks();
/// Which of them this one is, by the same.
int launched_rank();

/// The world of the launcher that the environment tells of; without one, or with one process, a world of one, and MPI is
/// not called. Refuses a launcher that is of another MPI than the program, and any where it was built without.
std::unique_ptr<World> join_world();

/// For commands that one process runs: refuses to be one of many.
void refuse_ranks(std::string_view command);

/// Which MPI the program was built with: "Open MPI 4.1.4", or "without MPI".
std::string mpi_description();

}  // namespace bittern
