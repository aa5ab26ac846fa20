// TokenStream: finding out what a path is, reading ranges, verifying.
#include "bittern/token_file.h"

#include <glob.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "base/foreign_format.h"
#include "bittern/error.h"
#include "data/foreign.h"
#include "data/manifest.h"
#include "data/shard.h"

namespace bittern {
namespace {

namespace fs = std::filesystem;

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::vector<std::string> expand(const std::string& pattern) {
  ::glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)  // glob sorts
    paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return paths;
}

// What a stream gathers while its parts are added.
struct Opened {
  std::vector<TokenPart> parts;
  std::int64_t vocab_size = 0;
  std::int32_t eos = -1;
  Checksum identity;

  void identify(const std::string& path, std::int64_t size, std::uint64_t contents) {
    identity.update(as_bytes(fs::path(path).filename().string()));
    const std::uint64_t numbers[] = {0, static_cast<std::uint64_t>(size), contents};
    identity.update(std::as_bytes(std::span(numbers)));
  }
};

// Formats without a checksum are told apart by their first and last bytes.
std::uint64_t ends_of(const File& file) {
  std::vector<std::byte> buffer(64 << 10);
  Checksum sum;
  const std::int64_t size = file.size();
  for (const std::int64_t from :
       {std::int64_t{0}, std::max<std::int64_t>(0, size - static_cast<std::int64_t>(buffer.size()))})
    sum.update(std::span(buffer).first(static_cast<std::size_t>(file.read_some(from, buffer))));
  return sum.digest();
}

void add_shard(Opened& opened, File file, const ShardWriter::Shard* expected) {
  const std::string path = file.path();
  const ShardHeader header = read_shard_header(file);
  if (expected && (header.tokens != expected->tokens || header.checksum != expected->checksum))
    throw input_error("{}: is not the shard that {} describes ({} tokens, expected {}); run `bittern prepare` again",
                      path, manifest_name, header.tokens, expected->tokens);
  // Files of other formats before it say nothing of their tokenizer.
  if (std::ranges::any_of(opened.parts, &TokenPart::has_checksum) &&
      (header.vocab_size != opened.vocab_size || header.eos != opened.eos))
    throw input_error(
        "{}: vocabulary is {}, but that of the shards before it is {}; shards of one stream must come from "
        "one tokenizer",
        path, header.vocab_size, opened.vocab_size);
  opened.vocab_size = header.vocab_size;
  opened.eos = header.eos;
  opened.identify(path, file.size(), header.checksum);
  TokenPart part;
  part.type = header.bytes_per_id == 2 ? TokenType::u16 : TokenType::u32;
  part.offset = shard_header_bytes;
  part.tokens = header.tokens;
  part.has_checksum = true;
  part.checksum = header.checksum;
  part.file = std::move(file);
  opened.parts.push_back(std::move(part));
}

void add_megatron(Opened& opened, const std::string& prefix) {
  const File idx = File::open(prefix + ".idx");
  opened.identify(idx.path(), idx.size(), ends_of(idx));
  opened.parts.push_back(open_megatron(idx, File::open(prefix + ".bin")));
  const File& bin = opened.parts.back().file;
  opened.identify(bin.path(), bin.size(), ends_of(bin));
}

void add_file(Opened& opened, const std::string& path) {
  const std::string stem = path.size() > 4 ? path.substr(0, path.size() - 4) : "";
  const bool bin_or_idx = path.ends_with(".bin") || path.ends_with(".idx");
  File file = File::open(path);
  if (is_shard(file)) return add_shard(opened, std::move(file), nullptr);
  if (is_llmc(file)) {
    opened.identify(path, file.size(), ends_of(file));
    opened.parts.push_back(open_llmc(std::move(file)));
    return;
  }
  if (bin_or_idx && is_file(stem + ".idx") && is_file(stem + ".bin")) return add_megatron(opened, stem);
  if (file.size() == 0) throw input_error("{}: is empty; expected a token file; get or prepare it again", path);
  std::string front(512, '\0');
  front.resize(static_cast<std::size_t>(file.read_some(0, std::as_writable_bytes(std::span(front)))));
  if (const auto foreign = foreign_format(front); foreign && !is_megatron_index(file))
    throw input_error("{}: is {}, no token file; {}", path, foreign->name, foreign->advice);
  if (path.ends_with(".bin") && file.size() % 2 == 0)
    throw input_error(
        "{}: has no header of bittern's or llm.c's and no .idx of Megatron's beside it; raw ids, as nanoGPT's prepare.py "
        "writes them, do not say what they are: put llm.c's header in front of their uint16, with Python: "
        "import numpy as n, sys; i = n.fromfile(sys.argv[1], n.uint16); h = n.zeros(256, n.int32); "
        "h[:3] = 20240520, 1, len(i); open(sys.argv[2], 'wb').write(h.tobytes() + i.tobytes())",
        path);
  throw input_error(
      "{}: is no token file known here (bittern's shard, llm.c's .bin, Megatron's .bin with its .idx); for "
      "text, run `bittern prepare` first",
      path);
}

// Widens `count` values of type T; returns the index of the first that is not in [0, limit), or -1.
template <typename T>
std::int64_t widen(const std::byte* bytes, std::int64_t count, std::int64_t limit, std::int32_t* out,
                   std::int64_t& bad) {
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    const auto id = static_cast<std::int64_t>(value);
    if (id < 0 || id >= limit) [[unlikely]] {
      bad = id;
      return i;
    }
    out[i] = static_cast<std::int32_t>(id);
  }
  return -1;
}

using Widen = std::int64_t (*)(const std::byte*, std::int64_t, std::int64_t, std::int32_t*, std::int64_t&);
struct TypeInfo {
  std::int64_t width;
  Widen widen;
};
constexpr std::array<TypeInfo, 6> types = {{{1, widen<std::uint8_t>},
                                            {2, widen<std::uint16_t>},
                                            {2, widen<std::int16_t>},
                                            {4, widen<std::int32_t>},
                                            {4, widen<std::uint32_t>},
                                            {8, widen<std::int64_t>}}};

constexpr std::int64_t any_id = std::int64_t{INT32_MAX} + 1;

}  // namespace

std::int64_t token_width(TokenType type) {
  return types[static_cast<std::size_t>(type)].width;
}

bool is_prepared_folder(const std::string& path) {
  return is_file(path + "/" + manifest_name);
}

namespace {

// Every file of a stream stays open, so that its data cannot change under a run; a process may as a rule have 1,024, and
// ask for many more.
void allow_many_files() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

TokenStream TokenStream::open(const std::string& path, Split split) {
  allow_many_files();
  TokenStream stream;
  Opened opened;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (!is_prepared_folder(path))
      throw input_error(
          "{}: has no {}; expected a folder made by `bittern prepare` (one that was interrupted is not "
          "complete: run it again)",
          path, manifest_name);
    const DataManifest manifest = read_data_manifest(path);
    const SplitInfo& info = split == Split::train ? manifest.train : manifest.valid;
    for (const auto& shard : info.shards) add_shard(opened, File::open(path + "/" + shard.file), &shard);
    if (!opened.parts.empty() && opened.vocab_size != manifest.vocab_size)
      throw input_error("{}/{}: vocab_size is {}, but the shards say {}; run `bittern prepare` again", path,
                        manifest_name, manifest.vocab_size, opened.vocab_size);
    opened.vocab_size = manifest.vocab_size;
    opened.eos = manifest.eos;
    stream.tokenizer_checksum_ = checksum_text(manifest.tokenizer_checksum);
    if (info.tokens > 0)
      stream.bytes_per_token_ = static_cast<double>(info.text_bytes) / static_cast<double>(info.tokens);
    // Without it nothing but samples is lost; with another one every sample would be gibberish.
    if (const std::string tokenizer = path + "/" + tokenizer_name; is_file(tokenizer)) {
      if (const std::uint64_t sum = checksum_file(tokenizer); sum != manifest.tokenizer_checksum)
        throw input_error(
            "{}: checksum is {}; expected {}: it is not the tokenizer of this data; put that one back or run "
            "`bittern prepare` again",
            tokenizer, checksum_text(sum), checksum_text(manifest.tokenizer_checksum));
      stream.tokenizer_path_ = tokenizer;
    }
  } else if (is_file(path)) {
    add_file(opened, path);
  } else if (is_file(path + ".idx")) {
    add_megatron(opened, path);
  } else {
    for (const std::string& found : expand(path)) add_file(opened, found);
    if (opened.parts.empty())
      throw input_error(
          "{}: no such file; expected a folder made by `bittern prepare`, llm.c .bin files (a path or a "
          "pattern in quotes) or the prefix of a Megatron .bin and .idx",
          path);
  }
  for (TokenPart& part : opened.parts) {
    part.first = stream.tokens_;
    stream.tokens_ += part.tokens;
  }
  stream.parts_ = std::move(opened.parts);
  stream.vocab_size_ = opened.vocab_size;
  stream.id_limit_ = opened.vocab_size > 0 ? opened.vocab_size : any_id;
  stream.eos_ = opened.eos;
  stream.name_ = path;
  stream.fingerprint_ = checksum_text(opened.identity.digest());
  return stream;
}

void TokenStream::limit_vocabulary(std::int64_t vocab_size) {
  if (vocab_size_ > vocab_size)
    throw input_error(
        "{}: its vocabulary has {} ids, but the model's vocab_size is {}; set the model's vocab_size to at "
        "least {}",
        name_, vocab_size_, vocab_size, vocab_size_);
  id_limit_ = std::min(id_limit_, vocab_size);
}

void TokenStream::read(std::int64_t first, std::span<std::int32_t> out) const {
  const auto count = static_cast<std::int64_t>(out.size());
  check(first >= 0 && first <= tokens_ && count <= tokens_ - first, "{}: {} tokens from {} on are asked; there are {}",
        name_, count, first, tokens_);
  auto part = std::upper_bound(parts_.begin(), parts_.end(), first,
                               [](std::int64_t at, const TokenPart& candidate) { return at < candidate.first; });
  if (part != parts_.begin()) --part;
  std::array<std::byte, 16384> buffer;
  std::int32_t* to = out.data();
  for (std::int64_t left = count; left > 0;) {
    const std::int64_t inside = first - part->first;
    if (inside >= part->tokens) {  // an empty part, or the end of one
      ++part;
      continue;
    }
    const TypeInfo& type = types[static_cast<std::size_t>(part->type)];
    const std::int64_t now =
        std::min({left, part->tokens - inside, static_cast<std::int64_t>(buffer.size()) / type.width});
    part->file.read(part->offset + inside * type.width,
                    std::span(buffer).first(static_cast<std::size_t>(now * type.width)));
    std::int64_t id = 0;
    if (const std::int64_t bad = type.widen(buffer.data(), now, id_limit_, to, id); bad >= 0)
      throw input_error(
          "{}: token {} is {}; expected an id below the vocabulary size {}; the file is damaged, or made "
          "with another tokenizer than the model's",
          part->file.path(), inside + bad, id, id_limit_);
    to += now;
    first += now;
    left -= now;
  }
}

void TokenStream::verify_ids(const TokenPart& part, const std::function<bool()>& go_on) const {
  std::vector<std::int32_t> ids(std::size_t{1} << 18);
  for (std::int64_t at = 0; at < part.tokens;) {
    const std::int64_t now = std::min(part.tokens - at, static_cast<std::int64_t>(ids.size()));
    read(part.first + at, std::span(ids).first(static_cast<std::size_t>(now)));
    at += now;
    if (go_on && !go_on()) return;
  }
}

void TokenStream::verify_checksums(const std::function<bool()>& go_on) const {
  std::vector<std::byte> bytes(std::size_t{1} << 20);
  for (const TokenPart& part : parts_) {
    if (!part.has_checksum) {
      verify_ids(part, go_on);
      continue;
    }
    Checksum sum;
    for (std::int64_t at = part.offset, got; (got = part.file.read_some(at, bytes)) > 0; at += got) {
      sum.update(std::span(bytes).first(static_cast<std::size_t>(got)));
      if (go_on && !go_on()) return;
    }
    if (sum.digest() != part.checksum)
      throw input_error("{}: checksum is {}; expected {}; the file is damaged, run `bittern prepare` again",
                        part.file.path(), checksum_text(sum.digest()), checksum_text(part.checksum));
  }
}

}  // namespace bittern
