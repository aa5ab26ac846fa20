// ByteReader: plain bytes, gzip and zstd behind one interface.
#include "data/byte_reader.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <vector>

#include "bittern/error.h"
#include "bittern/file.h"

namespace bittern {

// The file with a window of raw bytes [begin, end) of `buffer` that are not taken yet.
struct ByteReader::Source {
  explicit Source(File opened) : file(std::move(opened)), file_size(file.size()) {}
  virtual ~Source() = default;
  virtual std::size_t read(std::span<char> out) = 0;

  bool refill() {
    if (begin < end) return true;
    if (buffer.empty()) buffer.resize(std::size_t{256} << 10);
    begin = 0;
    end = static_cast<std::size_t>(file.read_some(offset, std::as_writable_bytes(std::span(buffer))));
    offset += static_cast<std::int64_t>(end);
    return end > 0;
  }
  std::int64_t position() const { return offset - static_cast<std::int64_t>(end - begin); }

  File file;
  std::int64_t file_size;
  std::int64_t offset = 0;
  std::vector<char> buffer;
  std::size_t begin = 0, end = 0;
};

struct ByteReader::Plain final : Source {
  using Source::Source;
  std::size_t read(std::span<char> out) override {
    const std::int64_t got = file.read_some(offset, std::as_writable_bytes(out));
    offset += got;
    return static_cast<std::size_t>(got);
  }
};

struct ByteReader::Gzip final : Source {
  explicit Gzip(File opened) : Source(std::move(opened)) {
    check(::inflateInit2(&stream, 15 + 16) == Z_OK, "{}: zlib cannot start", file.path());  // 15: window, 16: gzip
  }
  ~Gzip() override { ::inflateEnd(&stream); }

  std::size_t read(std::span<char> out) override {
    std::size_t done = 0;
    while (done < out.size() && !ended) {
      if (!refill()) {
        if (inside)
          throw input_error("{}: the gzip data ends inside a member, at byte {}; the file is truncated, get it again",
                            file.path(), position());
        break;
      }
      if (!inside && position() > 0 && !next_member()) break;
      inside = true;
      stream.next_in = reinterpret_cast<Bytef*>(buffer.data() + begin);
      stream.avail_in = static_cast<uInt>(end - begin);
      const std::size_t want = std::min(out.size() - done, std::size_t{1} << 30);
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + done);
      stream.avail_out = static_cast<uInt>(want);
      const int result = ::inflate(&stream, Z_NO_FLUSH);
      begin = end - stream.avail_in;
      done += want - stream.avail_out;
      if (result == Z_STREAM_END) {
        inside = false;
        ::inflateReset(&stream);
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        throw input_error("{}: the gzip data is damaged at byte {} ({}); get the file again", file.path(), position(),
                          stream.msg ? stream.msg : "no reason given");
      }
    }
    return done;
  }

  // Between members: another one follows, or padding with zeros (tapes and some writers add it) to the end.
  bool next_member() {
    while (refill() && buffer[begin] == '\0') ++begin;
    if (!refill()) {
      ended = true;
      return false;
    }
    if (buffer[begin] != '\x1f')
      throw input_error("{}: something that is not gzip follows at byte {}; get the file again", file.path(),
                        position());
    return true;
  }

  z_stream stream{};
  bool inside = false, ended = false;
};

struct ByteReader::Zstd final : Source {
  explicit Zstd(File opened) : Source(std::move(opened)), stream(::ZSTD_createDStream(), &::ZSTD_freeDStream) {
    check(stream != nullptr, "{}: zstd cannot start", file.path());
    // A window of any size that the format has: memory is taken as a frame asks for it.
    const ZSTD_bounds window = ::ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    check(!::ZSTD_isError(::ZSTD_DCtx_setParameter(stream.get(), ZSTD_d_windowLogMax, window.upperBound)),
          "{}: zstd cannot start", file.path());
  }

  std::size_t read(std::span<char> out) override {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos < to.size) {
      const bool more = refill();
      if (!more && !inside) break;
      ZSTD_inBuffer from{buffer.data(), end, begin};
      const std::size_t before = to.pos;
      const std::size_t result = ::ZSTD_decompressStream(stream.get(), &to, &from);
      begin = from.pos;
      if (::ZSTD_isError(result) && ::ZSTD_getErrorCode(result) == ZSTD_error_dictionary_wrong)
        throw input_error(
            "{}: was compressed with a dictionary, which is not part of it; unpack it first (zstd -d -D DICTIONARY), or "
            "pipe it in: zstd -dc -D DICTIONARY FILE | bittern prepare -",
            file.path());
      if (::ZSTD_isError(result))
        throw input_error("{}: the zstd data is damaged at byte {} ({}); get the file again", file.path(), position(),
                          ::ZSTD_getErrorName(result));
      inside = result != 0;
      if (!more && inside && to.pos == before)
        throw input_error("{}: the zstd data ends inside a frame, at byte {}; the file is truncated, get it again",
                          file.path(), position());
    }
    return to.pos;
  }

  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream;
  bool inside = false;
};

Compression compression_of(std::string_view front) {
  if (front.starts_with("\x1F\x8B")) return Compression::gzip;
  // A frame, or one to be skipped, which pzstd and seekable files begin with.
  if (front.starts_with("\x28\xB5\x2F\xFD") ||
      (front.size() >= 4 && (front[0] & '\xF0') == '\x50' && front.substr(1, 3) == "\x2A\x4D\x18"))
    return Compression::zstd;
  return Compression::none;
}

ByteReader::ByteReader(const std::string& path) {
  File file = File::open(path);
  char front[4] = {};
  const std::int64_t got = file.read_some(0, std::as_writable_bytes(std::span(front)));
  switch (compression_of({front, static_cast<std::size_t>(got)})) {
    case Compression::gzip:
      source_ = std::make_unique<Gzip>(std::move(file));
      break;
    case Compression::zstd:
      source_ = std::make_unique<Zstd>(std::move(file));
      break;
    case Compression::none:
      source_ = std::make_unique<Plain>(std::move(file));
  }
}

ByteReader::ByteReader(ByteReader&&) noexcept = default;
ByteReader::~ByteReader() = default;
std::size_t ByteReader::read(std::span<char> out) {
  return source_->read(out);
}
std::int64_t ByteReader::consumed() const {
  return source_->position();
}
std::int64_t ByteReader::size() const {
  return source_->file_size;
}

}  // namespace bittern
