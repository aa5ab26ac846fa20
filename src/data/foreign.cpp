// llm.c (karpathy/llm.c, llmc/dataloader.h and dev/data/data_common.py) and Megatron-LM
// (megatron/core/datasets/indexed_dataset.py): the facts of their formats, checked against the size of the file.
#include "data/foreign.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bittern/error.h"

namespace bittern {
namespace {

struct LlmcKind {
  std::int32_t magic, version;
  TokenType type;
};
constexpr LlmcKind llmc_kinds[] = {
    {20240520, 1, TokenType::u16},  // GPT-2's vocabulary
    {20240801, 7, TokenType::u32},  // Llama 3's vocabulary
};
constexpr std::int64_t llmc_header_bytes = 256 * 4;

const LlmcKind* llmc_kind(std::int32_t magic) {
  for (const LlmcKind& kind : llmc_kinds)
    if (kind.magic == magic) return &kind;
  return nullptr;
}

constexpr char megatron_magic[] = "MMIDIDX\0";  // and the NUL that ends the literal: 9 bytes
constexpr std::size_t megatron_magic_bytes = 9;
constexpr std::int64_t megatron_header_bytes = 9 + 8 + 1 + 8 + 8;

// Megatron's dtype codes; 6 and 7 are floats, 2 is int8.
struct MegatronKind {
  std::uint8_t code;
  TokenType type;
};
constexpr MegatronKind megatron_kinds[] = {
    {1, TokenType::u8}, {3, TokenType::i16}, {4, TokenType::i32}, {5, TokenType::i64}, {8, TokenType::u16}};

template <typename T>
T read_value(const File& file, std::int64_t offset) {
  T value;
  file.read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

// Calls each(index, value) for `count` values from `offset` on, read in pieces.
template <typename T, typename Each>
void for_each_value(const File& file, std::int64_t offset, std::int64_t count, Each each) {
  std::vector<T> buffer(std::size_t{1} << 16);
  for (std::int64_t done = 0; done < count;) {
    const auto now =
        static_cast<std::size_t>(std::min<std::int64_t>(count - done, static_cast<std::int64_t>(buffer.size())));
    file.read(offset + done * static_cast<std::int64_t>(sizeof(T)),
              std::as_writable_bytes(std::span(buffer).first(now)));
    for (std::size_t i = 0; i < now; ++i) each(done + static_cast<std::int64_t>(i), buffer[i]);
    done += static_cast<std::int64_t>(now);
  }
}

}  // namespace

bool is_llmc(const File& file) {
  std::int32_t magic = 0;
  return file.read_some(0, std::as_writable_bytes(std::span(&magic, 1))) == 4 && llmc_kind(magic) != nullptr;
}

TokenPart open_llmc(File file) {
  const std::string& path = file.path();
  const std::int64_t size = file.size();
  if (size < llmc_header_bytes)
    throw input_error("{}: has {} bytes; expected llm.c's header of {}; the file is truncated, get it again", path,
                      size, llmc_header_bytes);
  const LlmcKind& kind = *llmc_kind(read_value<std::int32_t>(file, 0));
  const auto version = read_value<std::int32_t>(file, 4);
  if (version != kind.version)
    throw input_error("{}: llm.c version is {}; expected {}; make the file again with llm.c's present scripts", path,
                      version, kind.version);
  const std::int64_t tokens = read_value<std::int32_t>(file, 8);
  const std::int64_t expected = tokens < 0 ? -1 : llmc_header_bytes + tokens * token_width(kind.type);
  if (size != expected)
    throw input_error(
        "{}: the header says {} tokens of {} bytes, which does not fit a file of {} bytes; the file is "
        "truncated or damaged, get it again",
        path, tokens, token_width(kind.type), size);
  TokenPart part;
  part.type = kind.type;
  part.offset = llmc_header_bytes;
  part.tokens = tokens;
  part.file = std::move(file);
  return part;
}

bool is_megatron_index(const File& file) {
  char front[megatron_magic_bytes];
  return file.read_some(0, std::as_writable_bytes(std::span(front))) == megatron_magic_bytes &&
         std::memcmp(front, megatron_magic, megatron_magic_bytes) == 0;
}

TokenPart open_megatron(const File& idx, File bin) {
  const std::string& path = idx.path();
  const std::int64_t size = idx.size();
  if (!is_megatron_index(idx))
    throw input_error("{}: is not a Megatron index (it does not start with MMIDIDX); check the path", path);
  if (size < megatron_header_bytes)
    throw input_error("{}: has {} bytes; expected a header of {}; the file is truncated, get it again", path, size,
                      megatron_header_bytes);
  if (const auto version = read_value<std::uint64_t>(idx, 9); version != 1)
    throw input_error("{}: Megatron index version is {}; expected 1", path, version);
  const auto code = read_value<std::uint8_t>(idx, 17);
  const auto* kind = std::find_if(std::begin(megatron_kinds), std::end(megatron_kinds),
                                  [&](const MegatronKind& known) { return known.code == code; });
  if (kind == std::end(megatron_kinds))
    throw input_error("{}: dtype code is {}; expected 1, 3, 4, 5 or 8 (integers); this is not a data set of token ids",
                      path, static_cast<int>(code));
  const auto sequences = read_value<std::int64_t>(idx, 18);
  const auto documents = read_value<std::int64_t>(idx, 26);
  // Each sequence takes 12 bytes and each document index 8, so the first two bounds keep the sum far from overflow. A
  // multimodal index has one byte more per sequence.
  const std::int64_t rest = size - megatron_header_bytes;
  if (sequences < 0 || documents < 0 || sequences > rest / 12 || documents > rest / 8 ||
      (sequences * 12 + documents * 8 != rest && sequences * 13 + documents * 8 != rest))
    throw input_error(
        "{}: the header says {} sequences and {} documents, which does not fit a file of {} bytes; the file "
        "is truncated or damaged, get it again",
        path, sequences, documents, size);

  const std::int64_t width = token_width(kind->type), bin_size = bin.size();
  const std::int64_t lengths_at = megatron_header_bytes, pointers_at = lengths_at + 4 * sequences,
                     documents_at = pointers_at + 8 * sequences;
  // One stream over the file needs sequences one after the other, as Megatron's tools write them. Both tables are
  // walked side by side, in blocks.
  std::int64_t tokens = 0;
  constexpr std::int64_t block = 1 << 15;
  for (std::int64_t from = 0; from < sequences; from += block) {
    std::vector<std::int32_t> lengths(static_cast<std::size_t>(std::min(block, sequences - from)));
    idx.read(lengths_at + 4 * from, std::as_writable_bytes(std::span(lengths)));
    for_each_value<std::int64_t>(idx, pointers_at + 8 * from, static_cast<std::int64_t>(lengths.size()),
                                 [&](std::int64_t i, std::int64_t pointer) {
                                   const std::int32_t length = lengths[static_cast<std::size_t>(i)];
                                   if (length < 0 || tokens > (bin_size - length * width) / width)
                                     throw input_error(
                                         "{}: sequence {} has {} tokens, which lie beyond the {} bytes of "
                                         "{}; the files are damaged or do not belong together",
                                         path, from + i, length, bin_size, bin.path());
                                   if (pointer != tokens * width)
                                     throw input_error(
                                         "{}: sequence {} begins at byte {}; expected {}: sequences must "
                                         "lie one after the other; write the data set again with "
                                         "Megatron's preprocess_data.py or merge_datasets.py",
                                         path, from + i, pointer, tokens * width);
                                   tokens += length;
                                 });
  }
  if (tokens * width != bin_size)
    throw input_error("{}: has {} bytes, but {} describes {} tokens of {} bytes; the files do not belong together",
                      bin.path(), bin_size, path, tokens, width);
  std::int64_t before = 0;
  for_each_value<std::int64_t>(idx, documents_at, documents, [&](std::int64_t i, std::int64_t sequence) {
    if (sequence < before || sequence > sequences || (i == 0 && sequence != 0))
      throw input_error(
          "{}: document {} begins at sequence {} of {}; expected a rising list that starts at 0; the file is "
          "damaged, get it again",
          path, i, sequence, sequences);
    before = sequence;
  });
  TokenPart part;
  part.type = kind->type;
  part.tokens = tokens;
  part.file = std::move(bin);
  return part;
}

}  // namespace bittern
