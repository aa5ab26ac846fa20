// The table of formats that bittern knows by name and does not read.
#include "base/foreign_format.h"

#include <cstddef>

namespace bittern {
namespace {

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  ForeignFormat format;
};

using std::string_view_literals::operator""sv;

constexpr std::string_view unpack = "unpack it first";
constexpr std::string_view to_json_lines =
    "write its texts as JSON lines first, for instance with Python: "
    "pandas.read_parquet(FILE)[['text']].to_json('text.jsonl', orient='records', lines=True)";

constexpr Signature signatures[] = {
    {0,
     "version https://git-lfs.github.com/"sv,
     {"a git-lfs pointer, which stands for a file that was not downloaded", "run `git lfs pull` in its folder"}},
    {0, "PAR1"sv, {"a Parquet file", to_json_lines}},
    {0, "ARROW1\0\0"sv, {"an Arrow file", "write its texts as JSON lines first (datasets: to_json)"}},
    {0, "\xFF\xFF\xFF\xFF\x10\0\0\0"sv, {"an Arrow stream", "write its texts as JSON lines first (datasets: to_json)"}},
    {0, "PK\x03\x04"sv, {"a zip archive", unpack}},
    {0,
     "\xFD"
     "7zXZ\0"sv,
     {"an xz archive", "unpack it first (xz -d), or pipe it in: xz -dc FILE | bittern prepare -"}},
    {0, "BZh"sv, {"a bzip2 archive", "unpack it first (bzip2 -d), or pipe it in: bzip2 -dc FILE | bittern prepare -"}},
    {0,
     "\x04\x22\x4D\x18"sv,
     {"an lz4 archive", "unpack it first (lz4 -d), or pipe it in: lz4 -dc FILE | bittern prepare -"}},
    {0, "7z\xBC\xAF\x27\x1C"sv, {"a 7z archive", unpack}},
    {0, "Rar!\x1A\x07"sv, {"a rar archive", unpack}},
    {257, "ustar"sv, {"a tar archive", "unpack it first (tar -xf) and name the folder"}},
    {0, "%PDF-"sv, {"a PDF", "turn it into text first (pdftotext)"}},
    {0, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, {"an old Office document", "save it as text first"}},
    {0, "SQLite format 3\0"sv, {"an SQLite data base", "write its texts as JSON lines first"}},
    {0, "\x89HDF\r\n\x1A\n"sv, {"an HDF5 file", "write its texts as JSON lines first"}},
    {0, "\x93NUMPY"sv, {"a NumPy array", "write its ids as llm.c's .bin, or its texts as JSON lines"}},
    {0, "GGUF"sv, {"a GGUF model", "use the model's safetensors folder"}},
    {0,
     "\x7F"
     "ELF"sv,
     {"a program", "name a file with text"}},
    {0, "BTNTOKEN"sv, {"a token shard of bittern", "it needs no `bittern prepare`: name its folder in data.path"}},
    {0, "MMIDIDX\0"sv, {"the index of a Megatron data set", "it needs no `bittern prepare`: name it in data.path"}},
    {0, "\x88\xD8\x34\x01"sv, {"a token file of llm.c", "it needs no `bittern prepare`: name it in data.path"}},
    {0, "\xA1\xD9\x34\x01"sv, {"a token file of llm.c", "it needs no `bittern prepare`: name it in data.path"}},
};

}  // namespace

std::optional<ForeignFormat> foreign_format(std::string_view front) {
  for (const Signature& signature : signatures)
    if (front.size() >= signature.offset && front.substr(signature.offset).starts_with(signature.bytes)) {
      if (signature.bytes == "BZh" && front.substr(4, 6) != "1AY&SY") continue;  // words may begin so
      return signature.format;
    }
  return std::nullopt;
}

}  // namespace bittern
