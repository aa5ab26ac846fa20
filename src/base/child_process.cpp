// run_in_child: fork, two pipes, and a parent that listens.
#include "base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "bittern/error.h"

namespace bittern {
namespace {

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw failure("cannot make a pipe: {}", std::strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close(read_end);
    close(write_end);
  }
  static void close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
};

// Killed if it still runs, and always waited for.
struct Child {
  pid_t id = -1;
  int status = 0;
  explicit Child(pid_t child) : id(child) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (id > 0) ::kill(id, SIGKILL);
    wait();
  }
  void wait() {
    if (id <= 0) return;
    while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
    }
    id = -1;
  }
};

[[noreturn]] void be_the_child(const std::function<std::string()>& work, int answer, int words) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
  ::dup2(words, STDERR_FILENO);
  const std::string bytes = work();
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t written = ::write(answer, bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno != EINTR) ::_exit(1);
    if (written > 0) at += static_cast<std::size_t>(written);
  }
  ::_exit(0);
}

// What is there to read, without waiting for more; false at the end.
bool take(int from, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(from, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR;
  to.append(buffer.data(), static_cast<std::size_t>(got));
  return got > 0;
}

}  // namespace

ChildResult run_in_child(const std::function<std::string()>& work, const std::function<void(std::string_view)>& said,
                         const std::function<void()>& wait) {
  Pipe answer, words;
  const pid_t id = ::fork();
  if (id < 0) throw failure("cannot start a process: {}", std::strerror(errno));
  if (id == 0) be_the_child(work, answer.write_end, words.write_end);
  Child child(id);
  Pipe::close(answer.write_end);
  Pipe::close(words.write_end);
  ChildResult result;
  std::string heard;
  while (answer.read_end >= 0 || words.read_end >= 0) {
    wait();
    std::array<struct pollfd, 2> ready = {{{.fd = answer.read_end, .events = POLLIN, .revents = 0},
                                           {.fd = words.read_end, .events = POLLIN, .revents = 0}}};
    if (::poll(ready.data(), ready.size(), 100) <= 0) continue;
    if (ready[0].revents != 0 && !take(answer.read_end, result.answer)) Pipe::close(answer.read_end);
    if (ready[1].revents != 0 && !take(words.read_end, heard)) Pipe::close(words.read_end);
    for (std::size_t end; (end = heard.find('\n')) != std::string::npos; heard.erase(0, end + 1))
      said(std::string_view(heard).substr(0, end));
  }
  if (!heard.empty()) said(heard);
  child.wait();
  result.signal = WIFSIGNALED(child.status) ? WTERMSIG(child.status) : 0;
  result.answered = WIFEXITED(child.status) && WEXITSTATUS(child.status) == 0;
  return result;
}

}  // namespace bittern
