// TokenStream: the tokens of a corpus as one concatenated stream over its files, read in place.
//
// Opens
//   a folder made by `bittern prepare`              (data.json names the shards; a split is chosen)
//   one of its shards
//   llm.c `.bin` files                              one, or a pattern such as 'dir/fineweb_train_*.bin'
//   a Megatron data set, named by its prefix        PREFIX.bin and PREFIX.idx
// Nothing is mapped or kept: `read` is a pread of the range, so memory does not grow with the corpus. Every file is
// hostile: sizes and counts are checked when it is opened, ids when they are read, checksums by `verify_checksums`.
// docs/formats.md describes the formats.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bittern/file.h"

namespace bittern {

enum class Split { train, valid };

/// How one id is stored.
enum class TokenType : std::uint8_t { u8, u16, i16, i32, u32, i64 };
std::int64_t token_width(TokenType type);

/// One file's share of a stream.
struct TokenPart {
  File file;
  TokenType type = TokenType::u16;
  std::int64_t offset = 0;  ///< of the first token, in bytes
  std::int64_t tokens = 0;
  std::int64_t first = 0;  ///< index in the stream of its first token
  /// XXH3-64 of the bytes from `offset` to the end of the file, where the format has a checksum.
  bool has_checksum = false;
  std::uint64_t checksum = 0;
};

class TokenStream {
 public:
  /// `split` matters for a prepared folder only; anything else is one split by itself.
  static TokenStream open(const std::string& path, Split split = Split::train);

  std::int64_t token_count() const { return tokens_; }
  /// 0 where the format does not say (llm.c, Megatron).
  std::int64_t vocab_size() const { return vocab_size_; }
  /// -1 where the format does not say.
  std::int32_t eos() const { return eos_; }
  /// UTF-8 bytes of text per token, for bits per byte; 0 where the format does not say.
  double bytes_per_token() const { return bytes_per_token_; }
  /// The tokenizer model's file (its checksum fits the data's); empty where there is none.
  const std::string& tokenizer_path() const { return tokenizer_path_; }
  /// The checksum of the tokenizer model that made the ids, as data.json has it; empty where the format does not say. Data
  /// with different ones do not belong together.
  const std::string& tokenizer_checksum() const { return tokenizer_checksum_; }
  /// The path it was opened by, for messages.
  const std::string& name() const { return name_; }
  const std::vector<TokenPart>& parts() const { return parts_; }
  /// Identity for resuming: made of the files' names (without folders), sizes, headers and checksums.
  const std::string& fingerprint() const { return fingerprint_; }

  /// Refuses, from now on, ids of `vocab_size` and more; throws at once where the data's own vocabulary is larger.
  void limit_vocabulary(std::int64_t vocab_size);

  /// Tokens [first, first + out.size()). Throws where the range or an id is outside. Safe from many threads at once.
  void read(std::int64_t first, std::span<std::int32_t> out) const;

  /// Reads every file, and throws where its checksum is another one or, in formats without one, where an id is outside the
  /// vocabulary. Returns early when `go_on`, asked after each piece, says no.
  void verify_checksums(const std::function<bool()>& go_on = {}) const;

 private:
  void verify_ids(const TokenPart& part, const std::function<bool()>& go_on) const;

  std::vector<TokenPart> parts_;
  std::int64_t tokens_ = 0;
  std::int64_t vocab_size_ = 0, id_limit_ = 0;
  std::int32_t eos_ = -1;
  double bytes_per_token_ = 0;
  std::string tokenizer_path_, tokenizer_checksum_, name_;
  std::string fingerprint_;
};

/// Whether `path` is a folder made by `bittern prepare` (it holds a data.json).
bool is_prepared_folder(const std::string& path);

}  // namespace bittern
