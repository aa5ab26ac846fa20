// The network thread and its jobs; a world of one.
#include "bittern/world.h"

#include <pthread.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace bittern {

namespace {

std::string name_of_host() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0) return "unknown";
  return name;
}

struct Job {
  std::string what;
  std::function<void(Link&)> work;
  TrafficKind kind;
};

std::thread thread_without_signals(std::function<void()> work) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(work));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

struct World::Network {
  std::mutex mutex;
  std::condition_variable work, done;
  std::deque<Job> jobs;
  JobNumber submitted = 0, finished = 0;
  bool started = false, ending = false;
  std::exception_ptr error;  ///< of a job: those after it are not run
  std::array<std::atomic<std::int64_t>, 3> sent{};
  std::unique_ptr<Link> link;
  std::thread thread;

  void run(const std::function<std::unique_ptr<Link>()>& make_link) {
    try {
      link = make_link();
    } catch (...) {
      error = std::current_exception();
    }
    std::unique_lock lock(mutex);
    started = true;
    done.notify_all();
    for (;;) {
      work.wait(lock, [&] { return !jobs.empty() || ending; });
      if (jobs.empty()) break;
      Job job = std::move(jobs.front());
      jobs.pop_front();
      const JobNumber number = finished + 1;
      if (!error) {
        lock.unlock();
        std::exception_ptr thrown;
        try {
          const std::int64_t before = link->bytes_sent();
          link->next_job(number, job.what);
          job.work(*link);
          sent[static_cast<std::size_t>(job.kind)] += link->bytes_sent() - before;
        } catch (...) {
          thrown = std::current_exception();
        }
        job = {};
        lock.lock();
        if (thrown) error = thrown;
      }
      finished = number;
      done.notify_all();
    }
    lock.unlock();
    link.reset();
  }
};

World::World() {
  info_.host = name_of_host();
}

World::~World() {
  stop_network();
}

void World::start_network(std::function<std::unique_ptr<Link>()> make_link) {
  network_ = std::make_unique<Network>();
  Network& network = *network_;
  network.thread = thread_without_signals([&network, make_link = std::move(make_link)] { network.run(make_link); });
  std::unique_lock lock(network.mutex);
  network.done.wait(lock, [&] { return network.started; });
  const std::exception_ptr error = network.error;
  lock.unlock();
  if (!error) return;
  stop_network();
  std::rethrow_exception(error);
}

void World::stop_network() {
  if (!network_) return;
  {
    const std::scoped_lock lock(network_->mutex);
    network_->ending = true;
  }
  network_->work.notify_one();
  if (network_->thread.joinable()) network_->thread.join();
  network_.reset();
}

JobNumber World::submit(std::string what, std::function<void(Link&)> job, TrafficKind kind) {
  check(network_ != nullptr, "{}: a world of one has nobody to exchange with", what);
  JobNumber number;
  {
    const std::scoped_lock lock(network_->mutex);
    network_->jobs.push_back({std::move(what), std::move(job), kind});
    number = ++network_->submitted;
  }
  network_->work.notify_one();
  return number;
}

void World::wait(JobNumber job) {
  if (job == 0) return;
  std::unique_lock lock(network_->mutex);
  if (network_->finished < job) {
    const auto began = std::chrono::steady_clock::now();
    network_->done.wait(lock, [&] { return network_->finished >= job; });
    seconds_waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
  if (network_->error) std::rethrow_exception(network_->error);
}

void World::abort(int code) {
  std::_Exit(code == 0 ? static_cast<int>(ExitCode::failure) : code);
}

void World::set_timeout(std::chrono::seconds timeout) {
  if (network_) network_->link->set_timeout(timeout);
}

Traffic World::traffic() const {
  if (!network_) return {};
  return {.host = network_->sent[0], .reduced = network_->sent[1], .gathered = network_->sent[2]};
}

}  // namespace bittern
