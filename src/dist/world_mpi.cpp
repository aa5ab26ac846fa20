// The world of MPI. The network thread makes every call of it, MPI_Init_thread and MPI_Finalize included, so no thread
// level above FUNNELED is needed. After start-up no collective of MPI is called: messages alone, cut into pieces of 1 MiB,
// so that counts never exceed an int.
#ifdef BITTERN_WITH_MPI
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <set>
#include <thread>
#include <utility>

#include "bittern/world.h"
#include "dist/launch.h"

namespace bittern {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t piece_bytes = std::size_t{1} << 20;
#ifdef OPEN_MPI
constexpr bool open_mpi = true;
constexpr std::string_view protocol_variable = "PMIX_RANK";
constexpr std::string_view srun_advice =
    "start it with `srun --mpi=pmix` (`srun --mpi=list` shows what this Slurm has), or with mpirun";
#else
constexpr bool open_mpi = false;
constexpr std::string_view protocol_variable = "PMI_RANK";
constexpr std::string_view srun_advice = "start it with `srun --mpi=pmi2`, or with mpirun";
#endif

void checked(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw failure("{}: {}", what, std::string_view(text, static_cast<std::size_t>(length)));
}

/// A message that is under way: at most 1 MiB.
struct Piece {
  int peer;
  bool receives;
};

struct Post {
  std::vector<MPI_Request> requests;
  std::vector<Piece> pieces;
  bool used = false;
};

class MpiLink final : public Link {
 public:
  MpiLink(RankInfo& info, const std::atomic<int>& abort_code) : abort_code_(abort_code) {
    int level = 0;
    checked(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    checked(MPI_Comm_rank(MPI_COMM_WORLD, &info.rank), "MPI_Comm_rank");
    checked(MPI_Comm_size(MPI_COMM_WORLD, &info.ranks), "MPI_Comm_size");
    if (info.ranks != launched_ranks()) {
      const int seen = info.ranks;
      MPI_Finalize();
      throw input_error(
          "started as one of {}, but MPI sees {}: the launcher is of another MPI than this program, which was built with "
          "{}; start it with that mpirun, or {}",
          launched_ranks(), seen, mpi_description(), srun_advice);
    }
    find_machines(info);
  }
  ~MpiLink() override {
    if (abort_code_ == 0) MPI_Finalize();
  }

  void next_job(std::int64_t number, const std::string& what) override {
    tag_ = static_cast<int>(number % 32768);
    what_ = what;
  }

  void finish(int which) override {
    Post& post = posts_[static_cast<std::size_t>(which)];
    const auto began = Clock::now();
    auto moved = began;
    std::size_t left = post.requests.size();
    indices_.resize(post.requests.size());
    while (left > 0) {
      int completed = 0;
      checked(MPI_Testsome(static_cast<int>(post.requests.size()), post.requests.data(), &completed, indices_.data(),
                           MPI_STATUSES_IGNORE),
              "MPI_Testsome");
      if (completed == MPI_UNDEFINED) break;
      left -= static_cast<std::size_t>(completed);
      if (abort_code_ != 0) MPI_Abort(MPI_COMM_WORLD, abort_code_);
      const auto now = Clock::now();
      if (completed > 0) moved = now;
      if (now - moved > timeout()) throw_timeout(post);
      if (completed == 0 && now - began > 50us) std::this_thread::sleep_for(50us);
    }
    post.used = false;
  }

 protected:
  int begin(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    const auto free = std::ranges::find(posts_, false, &Post::used);
    check(free != posts_.end(), "{}: three posts at a time; expected at most two", what_);
    Post& post = *free;
    post.used = true;
    post.requests.clear();
    post.pieces.clear();
    for (const Incoming& message : in)
      each_piece(message.bytes, [&](std::span<std::byte> piece) {
        checked(MPI_Irecv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, message.from, tag_, MPI_COMM_WORLD,
                          add(post, message.from, true)),
                "MPI_Irecv");
      });
    for (const Outgoing& message : out)
      each_piece(message.bytes, [&](std::span<const std::byte> piece) {
        checked(MPI_Isend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, message.to, tag_, MPI_COMM_WORLD,
                          add(post, message.to, false)),
                "MPI_Isend");
      });
    return static_cast<int>(free - posts_.begin());
  }

 private:
  static MPI_Request* add(Post& post, int peer, bool receives) {
    post.pieces.push_back({peer, receives});
    return &post.requests.emplace_back(MPI_REQUEST_NULL);
  }
  template <class Byte, class F>
  static void each_piece(std::span<Byte> bytes, F f) {
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece_bytes, bytes.size())))
      f(bytes.first(std::min(piece_bytes, bytes.size())));
  }

  [[noreturn]] void throw_timeout(const Post& post) const {
    std::set<int> missing;
    for (const bool receives : {true, false}) {
      if (!missing.empty()) break;
      for (std::size_t i = 0; i < post.pieces.size(); ++i)
        if (post.pieces[i].receives == receives && post.requests[i] != MPI_REQUEST_NULL)
          missing.insert(post.pieces[i].peer);
    }
    throw failure(
        "waited {} s for rank{} {} in {}; look at RUN/ranks/R/log.txt of those, or raise distributed.timeout_seconds",
        timeout().count(), missing.size() == 1 ? "" : "s", fmt::join(missing, ", "), what_);
  }

  /// The ranks of this machine share memory; a machine's number is its place in the order of the lowest ranks.
  static void find_machines(RankInfo& info) {
    MPI_Comm local = MPI_COMM_NULL;
    checked(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, info.rank, MPI_INFO_NULL, &local),
            "MPI_Comm_split_type");
    checked(MPI_Comm_rank(local, &info.local_rank), "MPI_Comm_rank");
    checked(MPI_Comm_size(local, &info.local_ranks), "MPI_Comm_size");
    int lowest = info.rank;
    checked(MPI_Bcast(&lowest, 1, MPI_INT, 0, local), "MPI_Bcast");
    std::vector<int> all(static_cast<std::size_t>(info.ranks));
    checked(MPI_Allgather(&lowest, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
    MPI_Comm_free(&local);
    const std::set<int> machines(all.begin(), all.end());
    info.nodes = static_cast<int>(machines.size());
    info.node = static_cast<int>(std::distance(machines.begin(), machines.find(lowest)));
  }

  const std::atomic<int>& abort_code_;
  std::array<Post, 2> posts_;
  std::vector<int> indices_;
  std::string what_;
  int tag_ = 0;
};

class MpiWorld final : public World {
 public:
  MpiWorld() {
    start_network([this] { return std::make_unique<MpiLink>(info_, abort_code_); });
  }
  ~MpiWorld() override { stop_network(); }

  /// The network thread calls MPI_Abort, between two looks at what is under way, or as the next job.
  void abort(int code) override {
    abort_code_ = code == 0 ? static_cast<int>(ExitCode::failure) : code;
    submit("abort", [this](Link&) { MPI_Abort(MPI_COMM_WORLD, abort_code_); });
    std::this_thread::sleep_for(5s);
    std::_Exit(abort_code_);  // the network thread has met an error of its own, and runs nothing any more
  }

 private:
  std::atomic<int> abort_code_ = 0;
};

}  // namespace

std::string mpi_description() {
#ifdef OPEN_MPI
  return fmt::format("Open MPI {}.{}.{}", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
#elif defined(MPICH_VERSION)
  return "MPICH " MPICH_VERSION;
#else
  return fmt::format("an MPI of standard {}.{}", MPI_VERSION, MPI_SUBVERSION);
#endif
}

std::unique_ptr<World> join_world() {
  if (launched_ranks() == 1) return std::make_unique<World>();
  dist_detail::check_launcher(protocol_variable, srun_advice);
  return std::make_unique<MpiWorld>();
}

}  // namespace bittern
#endif
