// ThreadWorld: the ranks of a world as threads of one process, which hand each other messages through mailboxes. What
// the ranks ask for is compared: jobs must have the same names in the same order.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bittern/world.h"

namespace bittern {

/// What abort() throws in the rank that called it.
struct Aborted : Error {
  using Error::Error;
};

/// What the ranks of one world share.
struct Mailboxes {
  explicit Mailboxes(int count) : ranks(count), boxes(static_cast<std::size_t>(count * count)) {}
  std::deque<std::vector<std::byte>>& box(int from, int to) {
    return boxes[static_cast<std::size_t>(from * ranks + to)];
  }

  int ranks;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::deque<std::vector<std::byte>>> boxes;
  std::map<std::int64_t, std::string> jobs;
  bool aborted = false;
};

class ThreadLink final : public Link {
 public:
  ThreadLink(Mailboxes& boxes, int rank) : boxes_(boxes), rank_(rank) {}

  void next_job(std::int64_t number, const std::string& what) override {
    const std::scoped_lock lock(boxes_.mutex);
    what_ = what;
    const std::string& first = boxes_.jobs.try_emplace(number, what).first->second;
    check(first == what, "rank {}: job {} is \"{}\", and another rank's is \"{}\"", rank_, number, what, first);
  }

  void finish(int post) override {
    Post& due = posts_[static_cast<std::size_t>(post)];
    check(post == next_to_finish_, "posts are to be finished in order");
    next_to_finish_ = 1 - next_to_finish_;
    for (const Incoming& message : due.in) {
      std::unique_lock lock(boxes_.mutex);
      auto& box = boxes_.box(message.from, rank_);
      const bool there = boxes_.changed.wait_for(lock, timeout(), [&] { return !box.empty() || boxes_.aborted; });
      if (!there) throw failure("waited {} s for rank {} in {}", timeout().count(), message.from, what_);
      if (box.empty()) throw failure("rank {}: {}: the others have ended", rank_, what_);
      const std::vector<std::byte> bytes = std::move(box.front());
      box.pop_front();
      lock.unlock();
      check(bytes.size() == message.bytes.size(), "{}: rank {} sent {} bytes to rank {}, which expected {}", what_,
            message.from, bytes.size(), rank_, message.bytes.size());
      std::copy(bytes.begin(), bytes.end(), message.bytes.begin());
    }
    due.used = false;
  }

 protected:
  int begin(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    Post& post = posts_[static_cast<std::size_t>(next_to_post_)];
    check(!post.used, "{}: three posts at a time", what_);
    post.used = true;
    post.in.assign(in.begin(), in.end());
    for (const Outgoing& message : out) {
      check(message.to != rank_, "{}: rank {} sends to itself", what_, rank_);
      const std::scoped_lock lock(boxes_.mutex);
      boxes_.box(rank_, message.to).emplace_back(message.bytes.begin(), message.bytes.end());
    }
    boxes_.changed.notify_all();
    return std::exchange(next_to_post_, 1 - next_to_post_);
  }

 private:
  struct Post {
    std::vector<Incoming> in;
    bool used = false;
  };
  Mailboxes& boxes_;
  int rank_;
  std::string what_;
  std::array<Post, 2> posts_;
  int next_to_post_ = 0, next_to_finish_ = 0;
};

class ThreadWorld final : public World {
 public:
  ThreadWorld(Mailboxes& boxes, int rank) : boxes_(boxes) {
    info_.rank = info_.local_rank = rank;
    info_.ranks = info_.local_ranks = boxes.ranks;
    if (boxes.ranks > 1) start_network([&boxes, rank] { return std::make_unique<ThreadLink>(boxes, rank); });
  }
  ~ThreadWorld() override { stop_network(); }
  void abort(int code) override {
    {
      const std::scoped_lock lock(boxes_.mutex);
      boxes_.aborted = true;
    }
    boxes_.changed.notify_all();
    throw Aborted(static_cast<ExitCode>(code), "aborted");
  }

 private:
  Mailboxes& boxes_;
};

/// Runs f(world) as each of so many ranks. A rank that throws ends the others; what was thrown first is thrown here.
inline void run_ranks(int ranks, const std::function<void(World&)>& f) {
  Mailboxes boxes(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadWorld world(boxes, rank);
      try {
        f(world);
      } catch (...) {
        const std::scoped_lock lock(mutex, boxes.mutex);
        if (!first) first = std::current_exception();
        boxes.aborted = true;
        boxes.changed.notify_all();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace bittern
