// bittern's own token shard (docs/formats.md). Internal to src/data.
//
//   0   8  magic "BTNTOKEN"
//   8   4  version, 1
//   12  4  bytes per id, 2 or 4
//   16  8  tokens
//   24  8  documents
//   32  4  vocabulary size: every id is below it
//   36  4  id of the end of a document (EOS)
//   40  8  XXH3-64 of everything after the header
//   48  8  zero
//   56  8  XXH3-64 of bytes 0 to 55
//   64     tokens, little-endian, then zeros up to a multiple of 8
//          documents x 8: index in this shard of the first token of each document that begins here
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bittern/file.h"
#include "bittern/token_file.h"

namespace bittern {

inline constexpr std::int64_t shard_header_bytes = 64;

struct ShardHeader {
  std::uint32_t bytes_per_id = 2;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::uint32_t vocab_size = 0;
  std::int32_t eos = -1;
  std::uint64_t checksum = 0;
};

/// 2 bytes where every id fits, else 4.
std::uint32_t bytes_per_id(std::int64_t vocab_size);

std::vector<std::byte> encode_shard_header(const ShardHeader& header);
bool is_shard(const File& file);
/// Reads the header and checks it against itself and the file's size.
ShardHeader read_shard_header(const File& file);

/// Writes the shard files of one split, NAME_00000.bin and so on, into a folder; none is larger than asked.
class ShardWriter {
 public:
  struct Shard {
    std::string file;  ///< name without folder
    std::int64_t tokens = 0, documents = 0, bytes = 0;
    std::uint64_t checksum = 0;
  };

  ShardWriter(std::string folder, std::string name, std::int64_t vocab_size, std::int32_t eos,
              std::int64_t shard_tokens);
  void append(std::span<const std::int32_t> ids);
  /// Ends the open document with EOS; nothing happens where it has no tokens.
  void end_document();
  /// Finishes the last shard. Every shard is durable after this.
  const std::vector<Shard>& finish();

  std::int64_t tokens() const { return tokens_; }
  std::int64_t documents() const { return documents_; }

 private:
  void put(std::span<const std::int32_t> ids);
  void flush();
  void close_shard();

  std::string folder_, name_;
  ShardHeader header_;
  std::int64_t shard_tokens_;
  std::int64_t tokens_ = 0, documents_ = 0;
  bool document_open_ = false;
  File file_;
  Checksum checksum_;
  std::vector<std::byte> buffer_;
  std::vector<std::uint64_t> starts_;
  std::vector<Shard> shards_;
};

}  // namespace bittern
