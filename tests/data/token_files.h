// Token files made by the tests: bittern's shards in a folder, llm.c's and Megatron's.
#pragma once

#include <string>
#include <vector>

#include "data/data_test.h"
#include "data/manifest.h"
#include "data/shard.h"

namespace bittern_test {

using Ids = std::vector<std::int32_t>;

template <typename T>
void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}
template <typename T>
std::string packed(const Ids& ids) {
  std::string bytes;
  for (const std::int32_t id : ids) put(bytes, static_cast<T>(id));
  return bytes;
}

inline Ids counting(std::int64_t n, std::int32_t below) {
  Ids ids;
  for (std::int64_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(i * 7 % below));
  return ids;
}

/// A prepared folder whose train split holds `documents` (without EOS), in shards of `shard_tokens`.
inline std::string write_prepared(const Folder& folder, const std::string& name, const std::vector<Ids>& documents,
                                  std::int64_t vocab_size, std::int64_t shard_tokens) {
  const std::string path = folder / name;
  std::filesystem::create_directories(path);
  bittern::DataManifest manifest;
  manifest.vocab_size = vocab_size;
  manifest.bos = 1;
  manifest.eos = 2;
  manifest.tokenizer_checksum = bittern::checksum(bittern::as_bytes("a model"));
  folder.write(name + "/tokenizer.model", "a model");
  for (const auto& [split, info] : {std::pair{"train", &manifest.train}, std::pair{"valid", &manifest.valid}}) {
    bittern::ShardWriter writer(path, split, vocab_size, 2, shard_tokens);
    for (const Ids& document : documents) {
      writer.append(document);
      writer.end_document();
      if (split[0] == 'v') break;
    }
    info->shards = writer.finish();
    info->tokens = writer.tokens();
    info->documents = writer.documents();
    info->text_bytes = 3 * writer.tokens();
  }
  bittern::File::create(path + "/" + bittern::manifest_name).write(bittern::as_bytes(data_manifest_text(manifest)));
  return path;
}

inline std::string llmc_bytes(const Ids& ids, std::int32_t magic = 20240520, std::int32_t version = 1) {
  std::string bytes;
  put(bytes, magic);
  put(bytes, version);
  put(bytes, static_cast<std::int32_t>(ids.size()));
  bytes.resize(1024);
  return bytes + (magic == 20240520 ? packed<std::uint16_t>(ids) : packed<std::uint32_t>(ids));
}

/// The index of sequences of these lengths, one document each.
inline std::string megatron_index(const std::vector<std::int32_t>& lengths, std::uint8_t code, std::int64_t width) {
  std::string bytes("MMIDIDX\0\0", 9);
  put(bytes, std::uint64_t{1});
  put(bytes, code);
  put(bytes, static_cast<std::uint64_t>(lengths.size()));
  put(bytes, static_cast<std::uint64_t>(lengths.size() + 1));
  for (const std::int32_t length : lengths) put(bytes, length);
  std::int64_t pointer = 0;
  for (const std::int32_t length : lengths) {
    put(bytes, pointer);
    pointer += length * width;
  }
  for (std::size_t i = 0; i <= lengths.size(); ++i) put(bytes, static_cast<std::int64_t>(i));
  return bytes;
}

}  // namespace bittern_test
