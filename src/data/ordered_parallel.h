// ordered_parallel: items through worker threads and out again in their order. Internal to src/data.
//
// The calling thread produces items and consumes results, in order; `work` runs on the threads (on the calling thread
// where `threads` is 1). At most 2 * threads + 1 items are under way, so memory is bounded. What is consumed does not
// depend on the threads, errors included: the error of the earliest item wins, after all results before it are
// consumed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace bittern {

/// `produce()` returns std::optional<Item>, `weigh(const Item&)` an std::int64_t, `work(Item&&, worker)` a Result,
/// `consume(Result&&)` nothing.
template <typename Item, typename Result, typename Produce, typename Weigh, typename Work, typename Consume>
void ordered_parallel(int threads, std::int64_t most_weight, Produce produce, Weigh weigh, Work work, Consume consume) {
  if (threads <= 1) {
    while (std::optional<Item> item = produce()) consume(work(std::move(*item), 0));
    return;
  }
  struct Slot {
    std::optional<Item> item;
    std::optional<Result> result;
    std::exception_ptr error;
    std::int64_t weight = 0;
  };
  std::mutex mutex;
  std::condition_variable work_ready, result_ready;
  std::deque<std::shared_ptr<Slot>> waiting;  // not taken by a worker yet
  bool closing = false;

  const auto worker = [&](int index) {
    while (true) {
      std::shared_ptr<Slot> slot;
      {
        std::unique_lock lock(mutex);
        work_ready.wait(lock, [&] { return closing || !waiting.empty(); });
        if (closing) return;
        slot = std::move(waiting.front());
        waiting.pop_front();
      }
      std::optional<Result> result;
      std::exception_ptr error;
      try {
        result.emplace(work(std::move(*slot->item), index));
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard lock(mutex);
      slot->item.reset();
      slot->result = std::move(result);
      slot->error = error;
      result_ready.notify_one();
    }
  };

  struct Crew {  // joins whatever happens
    std::mutex& mutex;
    std::condition_variable& work_ready;
    bool& closing;
    std::vector<std::thread> threads;
    ~Crew() {
      {
        const std::lock_guard lock(mutex);
        closing = true;
      }
      work_ready.notify_all();
      for (std::thread& thread : threads) thread.join();
    }
  } crew{mutex, work_ready, closing, {}};
  for (int i = 0; i < threads; ++i) crew.threads.emplace_back(worker, i);

  std::deque<std::shared_ptr<Slot>> order;
  std::int64_t under_way = 0;
  std::exception_ptr produce_error;
  const auto consume_oldest = [&] {
    const std::shared_ptr<Slot> slot = std::move(order.front());
    order.pop_front();
    under_way -= slot->weight;
    {
      std::unique_lock lock(mutex);
      result_ready.wait(lock, [&] { return slot->result.has_value() || slot->error; });
    }
    if (slot->error) std::rethrow_exception(slot->error);
    consume(std::move(*slot->result));
  };
  const std::size_t most = 2 * static_cast<std::size_t>(threads) + 1;
  while (true) {
    std::optional<Item> item;
    try {
      item = produce();
    } catch (...) {
      produce_error = std::current_exception();
    }
    if (!item) break;
    auto slot = std::make_shared<Slot>();
    slot->weight = weigh(*item);
    under_way += slot->weight;
    slot->item = std::move(item);
    order.push_back(slot);
    {
      const std::lock_guard lock(mutex);
      waiting.push_back(std::move(slot));
    }
    work_ready.notify_one();
    while (order.size() >= most || (under_way > most_weight && !order.empty())) consume_oldest();
  }
  while (!order.empty()) consume_oldest();
  if (produce_error) std::rethrow_exception(produce_error);
}

}  // namespace bittern
