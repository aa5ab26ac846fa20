// safetensors: what is written is read back, the library of the format agrees, and no file can do harm.
#include "bittern/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "bittern/quant/bf16.h"
#include "catch.h"
#include "source_dir.h"
#include "store/storage_support.h"

using namespace bittern;
using namespace bittern::storage_test;

namespace {

const std::string golden = bittern::source_dir() + "/tests/golden/storage";

// A file made of a header as given, with a right length, and as many zero bytes as asked for.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(data_bytes, '\0');
}

std::string small_file() {
  return file_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                 R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
                 32);
}

std::vector<std::byte> read_all(const SafetensorsFile& file, const SafetensorsEntry& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
  file.read(tensor.name, bytes);
  return bytes;
}

}  // namespace

TEST_CASE("safetensors: tensors written are tensors read") {
  TemporaryFolder folder;
  const std::string path = folder / "t.safetensors";
  const std::vector<OwnedTensor> tensors = {
      random_tensor("model.weight", "F32", {3, 5}, 1), random_tensor("norm", "BF16", {7}, 2),
      random_tensor("codes", "F8_E4M3", {4, 3, 2}, 3), random_tensor("scalar", "F32", {}, 4),
      random_tensor("empty", "U8", {0, 9}, 5),         random_tensor("large", "F32", {700, 1000}, 6)};
  WrittenFile written;
  {
    File out = File::create(path);
    written = write_safetensors(out, views(tensors), {{"format", "pt"}, {"by", "bittern"}});
    out.close();
  }
  CHECK(written.bytes == static_cast<std::int64_t>(std::filesystem::file_size(path)));
  CHECK(written.bytes == safetensors_file_bytes(views(tensors), {{"format", "pt"}, {"by", "bittern"}}));
  CHECK(written.xxh3 == checksum_file(path));

  const SafetensorsFile file = SafetensorsFile::open(path);
  CHECK(file.metadata() == SafetensorsMetadata{{"format", "pt"}, {"by", "bittern"}});
  REQUIRE(file.tensors().size() == tensors.size());
  for (const OwnedTensor& tensor : tensors) {
    INFO(tensor.name);
    const SafetensorsEntry* entry = file.find(tensor.name);
    REQUIRE(entry);
    CHECK(entry->dtype == tensor.dtype);
    CHECK(entry->shape == tensor.shape);
    CHECK(read_all(file, *entry) == tensor.bytes);
  }
  CHECK(file.tensors()[0].offset % 8 == 0);
  std::vector<std::byte> part(10);
  file.read_part(*file.find("large"), 12345, part);
  CHECK(std::equal(part.begin(), part.end(), tensors[5].bytes.begin() + 12345));
  CHECK(file.find("nothing") == nullptr);
}

TEST_CASE("safetensors: the bytes of a file are fixed") {
  TemporaryFolder folder;
  const float a[] = {1, 2};
  const std::uint8_t b[] = {9};
  File out = File::create(folder / "t");
  const std::vector<NamedTensor> tensors = {
      named_tensor("w", Tensor(const_cast<float*>(a), DType::f32, {1, 2})),
      {.name = "b", .dtype = "U8", .shape = {1}, .data = std::as_bytes(std::span(b))}};
  write_safetensors(out, tensors);
  out.close();
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}     )";
  REQUIRE(header.size() == 144);
  CHECK(read_bytes(folder / "t") ==
        std::string("\x90\0\0\0\0\0\0\0", 8) + header + std::string("\0\0\x80\x3f\0\0\0\x40\x09", 9));
}

TEST_CASE("safetensors: a file of the format's own library is read, and written again byte for byte") {
  const SafetensorsFile file = SafetensorsFile::open(golden + "/small.safetensors");
  CHECK(file.metadata() == SafetensorsMetadata{{"format", "pt"}});
  REQUIRE(file.tensors().size() == 13);
  std::vector<float> a(6);
  file.read("a.f32", std::as_writable_bytes(std::span(a)));
  CHECK(a == std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1, 1.25f});
  std::vector<bf16> b(3);
  file.read("b.bf16", std::as_writable_bytes(std::span(b)));
  CHECK(to_float(b[1]) == -2.5f);
  CHECK(file.find("c.f16")->shape == std::vector<std::int64_t>{3, 1});
  CHECK(file.find("h.f8_e4m3")->dtype == "F8_E4M3");
  CHECK(file.find("k.scalar")->shape.empty());
  CHECK(file.find("l.empty")->bytes == 0);
  CHECK(file.find("m.\u00fc\"quote\"") != nullptr);

  std::vector<std::vector<std::byte>> data;
  std::vector<NamedTensor> tensors;
  for (const SafetensorsEntry& tensor : file.tensors()) {
    data.push_back(read_all(file, tensor));
    tensors.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .data = data.back()});
  }
  TemporaryFolder folder;
  File out = File::create(folder / "again");
  write_safetensors(out, tensors, file.metadata());
  out.close();
  CHECK(read_bytes(folder / "again") == read_bytes(file.path()));
}

TEST_CASE("safetensors: a tensor that is not there, or has another size, is an error with its name") {
  const SafetensorsFile file = SafetensorsFile::open(golden + "/small.safetensors");
  std::vector<std::byte> out(5);
  const Thrown absent = error_of([&] { file.read("z", out); });
  CHECK(absent.code == ExitCode::bad_input);
  CHECK(contains(absent.text, "small.safetensors: has no tensor \"z\"; expected"));
  CHECK(contains(error_of([&] { file.read("a.f32", out); }).text, "tensor \"a.f32\" has 24 bytes; expected 5"));
}

TEST_CASE("safetensors: every kind of bad file is refused by file, field and remedy") {
  struct Case {
    const char* what;
    std::string bytes;
    std::string message;  // after the path
  };
  const auto tensor = [](const char* fields, std::size_t bytes) {
    return file_of("{\"a\":{" + std::string(fields) + "}}", bytes);
  };
  const std::string good_a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::vector<Case> cases = {
      {"empty", "", ": has 0 bytes; expected a safetensors file, which has at least 8"},
      {"seven bytes", "1234567", ": has 7 bytes; expected"},
      {"length of 2^64 - 1", std::string(8, '\xff') + "{}",
       ": header length is 18446744073709551615; expected at most 2 (the file has 10 bytes)"},
      {"length of 2^63", std::string("\0\0\0\0\0\0\0\x80{}", 10), ": header length is 9223372036854775808; expected"},
      {"length beyond the file", std::string("\x03\0\0\0\0\0\0\0{}", 10), ": header length is 3; expected at most 2"},
      {"no header", std::string(8, '\0'), ": header does not start with '{'"},
      {"not an object", file_of("[1]", 0), ": header does not start with '{'"},
      {"not JSON", file_of("{\"a\":", 0), ": header is not valid JSON"},
      {"not UTF-8", file_of("{\"\xff\":1}", 0), ": header is not valid JSON"},
      {"text after the object", file_of("{}{}", 0), ": header is not valid JSON"},
      {"deep", file_of("{\"a\":" + std::string(100000, '['), 0), ": header is nested deeper than 16 levels"},
      {"name twice", file_of("{" + good_a + "," + good_a + "}", 4), ": header has the key \"a\" twice; expected"},
      {"field twice", tensor(R"("dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4])", 4),
       ": header has the key \"dtype\" twice"},
      {"metadata not strings", file_of("{\"__metadata__\":{\"a\":1}}", 0), ": __metadata__ is {\"a\":1}; expected"},
      {"metadata not an object", file_of("{\"__metadata__\":[]}", 0), ": __metadata__ is []; expected"},
      {"tensor not an object", file_of("{\"a\":7}", 0), ": tensor \"a\" is 7; expected an object with dtype"},
      {"no dtype", tensor(R"("shape":[4],"data_offsets":[0,4])", 4), ": tensor \"a\" has no dtype; "},
      {"no shape", tensor(R"("dtype":"U8","data_offsets":[0,4])", 4), ": tensor \"a\" has no shape; "},
      {"no offsets", tensor(R"("dtype":"U8","shape":[4])", 4), ": tensor \"a\" has no data_offsets; "},
      {"unknown dtype", tensor(R"("dtype":"F64","shape":[4],"data_offsets":[0,32])", 32),
       ": tensor \"a\".dtype is \"F64\"; expected one of F32, BF16"},
      {"dtype not a string", tensor(R"("dtype":4,"shape":[4],"data_offsets":[0,4])", 4),
       ": tensor \"a\".dtype is 4; expected one of"},
      {"shape not a list", tensor(R"("dtype":"U8","shape":4,"data_offsets":[0,4])", 4),
       ": tensor \"a\".shape is 4; expected a list"},
      {"negative extent", tensor(R"("dtype":"U8","shape":[-4],"data_offsets":[0,4])", 4),
       ": tensor \"a\".shape is [-4]; expected whole numbers"},
      {"broken extent", tensor(R"("dtype":"U8","shape":[4.0],"data_offsets":[0,4])", 4),
       ": tensor \"a\".shape is [4.0]; expected whole numbers"},
      {"extent over 2^63", tensor(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,4])", 4),
       ": tensor \"a\".shape is [9223372036854775808]; expected whole numbers"},
      {"product over 2^63", tensor(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])", 0),
       ": tensor \"a\".shape is [4294967296,4294967296]; expected a tensor of less than 2^63 bytes"},
      {"product times size over 2^63", tensor(R"("dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,0])", 0),
       ": tensor \"a\".shape is [2305843009213693952]; expected a tensor of less"},
      {"one offset", tensor(R"("dtype":"U8","shape":[4],"data_offsets":[0])", 4),
       ": tensor \"a\".data_offsets is [0]; expected [begin, end] with begin <= end <= 4"},
      {"offsets reversed", tensor(R"("dtype":"U8","shape":[4],"data_offsets":[4,0])", 4),
       ": tensor \"a\".data_offsets is [4,0]; expected [begin, end]"},
      {"negative offset", tensor(R"("dtype":"U8","shape":[4],"data_offsets":[-4,0])", 4),
       ": tensor \"a\".data_offsets is [-4,0]; expected [begin, end]"},
      {"end beyond the file", tensor(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])", 3),
       ": tensor \"a\".data_offsets is [0,4]; expected [begin, end] with begin <= end <= 3"},
      {"end at 2^63", tensor(R"("dtype":"U8","shape":[4],"data_offsets":[0,9223372036854775807])", 4),
       ": tensor \"a\".data_offsets is [0,9223372036854775807]; expected"},
      {"size and shape disagree", tensor(R"("dtype":"U8","shape":[3],"data_offsets":[0,4])", 4),
       ": tensor \"a\".data_offsets is [0,4], which is 4 bytes; expected 3 for dtype U8 and shape [3]"},
      {"overlap", file_of("{" + good_a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6),
       ": tensor \"b\".data_offsets begins at 2, inside the tensor before it, which ends at 4"},
      {"same place", file_of("{" + good_a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4),
       ": tensor \"b\".data_offsets begins at 0, inside"},
      {"gap", file_of("{" + good_a + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}})", 10),
       ": tensor \"b\".data_offsets begins at 6, but the tensor before it ends at 4; expected no gaps"},
      {"bytes at the end", file_of("{" + good_a + "}", 5), ": has 1 bytes after its last tensor; expected none"},
  };
  TemporaryFolder folder;
  const std::string path = folder / "bad.safetensors";
  for (const Case& c : cases) {
    INFO(c.what);
    write_bytes(path, c.bytes);
    const Thrown thrown = error_of([&] { SafetensorsFile::open(path); });
    CHECK(thrown.code == ExitCode::bad_input);
    INFO(thrown.text);
    CHECK(contains(thrown.text, path + c.message));
    CHECK(thrown.text.size() < 600);
  }
  CHECK(contains(error_of([&] { SafetensorsFile::open(folder / "none"); }).text, "none: cannot open"));
  CHECK(error_of([&] { SafetensorsFile::open(folder.path); }).code == ExitCode::bad_input);
  write_bytes(path, small_file());
  CHECK(SafetensorsFile::open(path).tensors().size() == 2);
}

TEST_CASE("safetensors: a header that claims gigabytes of a sparse file is not believed") {
  TemporaryFolder folder;
  const std::string path = folder / "sparse";
  const std::uint64_t length = std::uint64_t{4} << 30;
  write_bytes(path, std::string(reinterpret_cast<const char*>(&length), 8));
  std::filesystem::resize_file(path, std::uintmax_t{5} << 30);
  CHECK(contains(error_of([&] { SafetensorsFile::open(path); }).text,
                 "header length is 4294967296; expected at most 100000000"));
}

TEST_CASE("safetensors: offsets beyond 4 GiB") {
  TemporaryFolder folder;
  const std::string path = folder / "sparse";
  const std::string header = R"({"a":{"dtype":"U8","shape":[5368709120],"data_offsets":[0,5368709120]},)"
                             R"("b":{"dtype":"U8","shape":[2],"data_offsets":[5368709120,5368709122]}})";
  write_bytes(path, file_of(header, 0));
  std::filesystem::resize_file(path, 8 + header.size() + 5368709122);
  {
    const int descriptor = ::open(path.c_str(), O_WRONLY);
    REQUIRE(::pwrite(descriptor, "hi", 2, static_cast<off_t>(8 + header.size() + 5368709120)) == 2);
    ::close(descriptor);
  }
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::vector<std::byte> b = read_all(file, *file.find("b"));
  CHECK(static_cast<char>(b[0]) == 'h');
  CHECK(static_cast<char>(b[1]) == 'i');
}

TEST_CASE("safetensors: thousands of damaged files open with every tensor inside, or are refused") {
  TemporaryFolder folder;
  const std::string path = folder / "t";
  const std::string originals[] = {small_file(), read_bytes(golden + "/small.safetensors")};
  int opened = 0, refused = 0;
  for (std::uint32_t seed = 0; seed < 6000; ++seed) {
    Random random(seed);
    const std::string& original = originals[seed % 2];
    const std::string bytes = damaged(original, seed % 3 == 0 ? original.size() : original.size() - 32, random);
    write_bytes(path, bytes);
    try {
      const SafetensorsFile file = SafetensorsFile::open(path);
      ++opened;
      std::int64_t total = 0;
      for (const SafetensorsEntry& tensor : file.tensors()) {
        const std::vector<std::byte> data = read_all(file, tensor);
        total += tensor.bytes;
        if (!data.empty() && std::memcmp(data.data(), bytes.data() + tensor.offset, data.size()) != 0)
          FAIL("another place's bytes, seed " << seed);
      }
      std::uint64_t length;
      std::memcpy(&length, bytes.data(), 8);
      if (total != static_cast<std::int64_t>(bytes.size() - 8 - length)) FAIL("bytes without a tensor, seed " << seed);
    } catch (const Error& error) {
      ++refused;
      if (!contains(error.what(), path) || error.exit_code() != ExitCode::bad_input) FAIL(error.what());
    }
  }
  CHECK(opened > 100);
  CHECK(refused > 3000);
}

TEST_CASE("safetensors: a sharded model is one list of tensors") {
  const SafetensorsFolder model = SafetensorsFolder::open(golden + "/qwen3_sharded");
  CHECK(model.tensors().size() == 25);
  const SafetensorsEntry* tensor = model.find("model.norm.weight");
  REQUIRE(tensor);
  CHECK(contains(model.file_of(*tensor), "-of-00003.safetensors"));
  std::vector<std::uint16_t> ones(16);
  model.read("model.norm.weight", std::as_writable_bytes(std::span(ones)));
  CHECK(ones == std::vector<std::uint16_t>(16, 0x3c00));
}

TEST_CASE("safetensors: an index cannot lead out of its folder") {
  TemporaryFolder folder;
  const std::string index = folder / "model.safetensors.index.json";
  write_bytes(folder / "good.safetensors", small_file());
  const auto open_with = [&](const std::string& text) {
    write_bytes(index, text);
    return error_of([&] { SafetensorsFolder::open(folder.path); });
  };
  const auto map_a_to = [](const std::string& file) { return R"({"weight_map":{"a":")" + file + R"("}})"; };

  CHECK(open_with(map_a_to("good.safetensors")).text.empty());
  for (const char* name :
       {"../good.safetensors", "/etc/passwd", "sub/good.safetensors", "..", ".", "", "a\\\\b", "a\\u0000b"}) {
    INFO(name);
    const Thrown thrown = open_with(map_a_to(name));
    CHECK(thrown.code == ExitCode::bad_input);
    CHECK(contains(thrown.text, index + ": weight_map.\"a\" is "));
    CHECK(contains(thrown.text, "expected the plain name of a file in the same folder"));
  }
  CHECK(contains(open_with(R"({"weight_map":{"a":7}})").text, "weight_map.\"a\" is 7; expected the plain name"));
  CHECK(contains(open_with(map_a_to("none.safetensors")).text,
                 "weight_map.\"a\" is \"none.safetensors\", which does not exist; expected every shard; download it"));
  CHECK(contains(open_with(R"({"weight_map":{"c":"good.safetensors"}})").text,
                 "weight_map.\"c\" is \"good.safetensors\", which has no such tensor"));
  CHECK(contains(open_with("{}").text, "has no weight_map"));
  CHECK(contains(open_with("[]").text, "has no weight_map"));
  CHECK(contains(open_with(R"({"weight_map":{}})").text, "has no weight_map"));
  CHECK(contains(open_with(R"({"weight_map":{"a":"good.safetensors","a":"x"}})").text, "has the key \"a\" twice"));
  std::filesystem::remove(index);
  CHECK(contains(error_of([&] { SafetensorsFolder::open(folder.path); }).text,
                 "has neither model.safetensors nor model.safetensors.index.json"));
  write_bytes(folder / "pytorch_model.bin", "");
  CHECK(contains(error_of([&] { SafetensorsFolder::open(folder.path); }).text, "convert pytorch_model.bin"));
}

TEST_CASE("safetensors: thousands of damaged indexes are read or refused by name") {
  TemporaryFolder folder;
  const std::string index = folder / "model.safetensors.index.json";
  write_bytes(folder / "good.safetensors", small_file());
  const std::string good = R"({"metadata":{"total_size":64},"weight_map":{"a":"good.safetensors"}})";
  const int refused = refusals_of_damaged(good, 3000, index, [&](const std::string& bad) {
    write_bytes(index, bad);
    SafetensorsFolder::open(folder.path);
  });
  CHECK(refused > 1500);
}

TEST_CASE("safetensors: a device that is full is an error, not a short file") {
  if (!std::filesystem::exists("/dev/full")) return;
  const OwnedTensor tensor = random_tensor("w", "F32", {100}, 1);
  File out = File::create("/dev/full");
  const Thrown thrown = error_of([&] { write_safetensors(out, std::vector{tensor.view()}); });
  CHECK(thrown.code == ExitCode::failure);
  CHECK(contains(thrown.text, "/dev/full: cannot write: No space left on device"));
}

TEST_CASE("safetensors: the writer refuses what a reader would") {
  TemporaryFolder folder;
  File out = File::create(folder / "t");
  OwnedTensor tensor = random_tensor("w", "F32", {4}, 1);
  const auto message = [&](std::vector<NamedTensor> tensors) {
    return error_of([&] { write_safetensors(out, tensors); }).text;
  };
  CHECK(contains(message({tensor.view(), tensor.view()}), "the name \"w\" cannot be used twice"));
  tensor.shape = {5};
  CHECK(contains(message({tensor.view()}), "tensor \"w\" has 16 bytes, but its dtype and shape say 20"));
  tensor.dtype = "F64";
  CHECK(contains(message({tensor.view()}), "tensor \"w\" has the unknown dtype \"F64\""));
  float values[6] = {};
  const Tensor part = Tensor(values, DType::f32, {2, 3}).slice_cols(0, 2);
  Tensor view = part;
  view.row_stride = 3;
  CHECK(contains(error_of([&] { named_tensor("p", view); }).text, "tensor \"p\" is a part of another one"));
}
