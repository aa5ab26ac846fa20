// Copying a pipe to a file.
#include "data/spool.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "bittern/error.h"
#include "bittern/file.h"
#include "data/byte_reader.h"

namespace bittern {
namespace {

struct Stream {
  int descriptor = -1;
  bool opened = false;
  explicit Stream(const std::string& input) {
    if (input == "-") {
      descriptor = STDIN_FILENO;
      return;
    }
    // A pipe that nobody has opened for writing yet would block here, deaf to Ctrl-C. What waits for text is poll().
    descriptor = ::open(input.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    opened = true;
    if (descriptor < 0) throw input_error("{}: cannot open: {}", input, std::strerror(errno));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (opened) ::close(descriptor);
  }
};

}  // namespace

bool is_stream(const std::string& input) {
  struct stat status {};
  return input == "-" || (::stat(input.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode));
}

TextFile spool(const std::string& input, const std::string& path, const std::function<void()>& tell) {
  const Stream stream(input);
  if (::isatty(stream.descriptor) == 1) throw input_error("{}: is a terminal; pipe a text in, or name a file", input);
  const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(::ZSTD_createCCtx(), &::ZSTD_freeCCtx);
  check(context && !::ZSTD_isError(::ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 1)),
        "{}: zstd cannot start", path);
  File file = File::create(path);
  std::vector<char> in(std::size_t{1} << 20), out(::ZSTD_CStreamOutSize());
  const auto compress = [&](std::span<const char> bytes, bool last) {
    ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
    for (bool more = true; more;) {
      ZSTD_outBuffer to{out.data(), out.size(), 0};
      const std::size_t left = ::ZSTD_compressStream2(context.get(), &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
      check(!::ZSTD_isError(left), "{}: zstd cannot compress: {}", path, ::ZSTD_getErrorName(left));
      file.write(std::as_bytes(std::span(out).first(to.pos)));
      more = last ? left > 0 : from.pos < from.size;
    }
  };
  std::int64_t total = 0;
  std::size_t have = 0;
  bool as_it_is = false;
  for (bool ended = false; !ended;) {
    tell();
    struct pollfd waiting = {.fd = stream.descriptor, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, 200);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;  // a read would wait for more text, deaf to the signal
    const ssize_t got = ::read(stream.descriptor, in.data() + have, in.size() - have);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) throw failure("{}: cannot read: {}", input, std::strerror(errno));
    ended = got == 0;
    have += static_cast<std::size_t>(got);
    if (!ended && have < in.size()) continue;  // in large pieces; the first shows what it is
    if (total == 0) as_it_is = compression_of({in.data(), std::min<std::size_t>(have, 4)}) != Compression::none;
    const std::span<const char> bytes = std::span<const char>(in).first(have);
    if (as_it_is)
      file.write(std::as_bytes(bytes));
    else
      compress(bytes, ended);
    total += static_cast<std::int64_t>(have);
    have = 0;
  }
  const std::int64_t bytes = file.size();
  file.close();
  if (total == 0) throw input_error("{}: is empty; give a text", input);
  return spooled_text_file(path, bytes, input);
}

}  // namespace bittern
