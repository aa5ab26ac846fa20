// data.json: what a folder made by `bittern prepare` holds. It is written last, so a folder without it is not complete.
// Internal to src/data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/shard.h"

namespace bittern {

inline constexpr const char* manifest_name = "data.json";
inline constexpr const char* tokenizer_name = "tokenizer.model";

struct SplitInfo {
  std::int64_t tokens = 0, documents = 0, text_bytes = 0;
  std::vector<ShardWriter::Shard> shards;
};

struct SourceInfo {
  std::string file;  ///< name without folder
  std::int64_t bytes = 0;
};

struct DataManifest {
  std::int64_t vocab_size = 0;
  std::int32_t bos = -1, eos = -1;
  std::int32_t unknown = -1, pad = -1;  ///< since version 2
  std::string tokenizer_kind = {};      ///< since version 2: "bpe", "unigram", ...; before: empty
  std::uint64_t tokenizer_checksum = 0;
  SplitInfo train, valid;
  std::vector<SourceInfo> sources;
  double valid_fraction = 0;
  bool split_by_text = false;       ///< whole documents by a hash of their text; else by place
  std::int64_t replaced_bytes = 0;  ///< bytes that were not UTF-8
  std::int64_t skipped_lines = 0;   ///< JSON lines without text
  std::int64_t unknown_tokens = 0;  ///< <unk> among the tokens
};

std::string data_manifest_text(const DataManifest& manifest);
/// Reads and checks FOLDER/data.json: every name is one that prepare gives, so none leads out of the folder.
DataManifest read_data_manifest(const std::string& folder);

}  // namespace bittern
