// Checkpoints, writing: everything under a name that no reader looks at, then one rename.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "bittern/backend.h"
#include "bittern/checkpoint.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "store/checkpoint_internal.h"

namespace bittern {
namespace {

namespace fs = std::filesystem;
using namespace checkpoint_detail;

struct FileToWrite {
  std::string name;
  const std::vector<NamedTensor>* tensors;  // or
  std::string_view bytes;
  std::int64_t size() const {
    return tensors ? safetensors_file_bytes(*tensors) : static_cast<std::int64_t>(bytes.size());
  }
};

// The large ones first: what does not fit fails early.
std::vector<FileToWrite> files_of(const CheckpointContents& contents) {
  std::vector<FileToWrite> files = {{model_name, &contents.model, {}},
                                    {optimizer_name, &contents.optimizer, {}},
                                    {config_name, nullptr, contents.hf_config_json},
                                    {trainer_name, nullptr, contents.trainer_json}};
  if (!contents.tokenizer.empty()) files.push_back({tokenizer_name, nullptr, contents.tokenizer});
  for (const CheckpointContents::SmallFile& file : contents.small_files) {
    check(is_plain_file_name(file.name) && file.name != manifest_name, "checkpoint: a file cannot be named {}",
          file.name);
    for (const FileToWrite& other : files)
      check(other.name != file.name, "checkpoint: two files are named {}", file.name);
    files.push_back({file.name, nullptr, file.bytes});
  }
  return files;
}

Manifest::File write_file(const std::string& directory, const FileToWrite& source) {
  File file = File::create(directory + "/" + source.name);
  WrittenFile written;
  if (source.tensors) {
    written = write_safetensors(file, *source.tensors);
  } else {
    file.write(as_bytes(source.bytes));
    written = {.bytes = source.size(), .xxh3 = checksum(as_bytes(source.bytes))};
  }
  file.sync();
  file.close();
  return {.name = source.name, .bytes = written.bytes, .xxh3 = written.xxh3};
}

bool same_content(const Manifest& a, const Manifest& b, const char* name) {
  const auto find = [name](const Manifest& manifest) {
    for (const Manifest::File& file : manifest.files)
      if (file.name == name) return file;
    return Manifest::File{};
  };
  return find(a).bytes == find(b).bytes && find(a).xxh3 == find(b).xxh3;
}

// What to do with a step_N that is there already.
enum class Existing : std::uint8_t { none, same, worthless };
Existing look_at_existing(const std::string& directory, const Manifest& ours) {
  if (!fs::exists(fs::symlink_status(directory))) return Existing::none;
  Manifest theirs;
  try {
    theirs = verify_checkpoint(directory, CheckpointCheck::checksums);
  } catch (const Error& error) {
    if (error.exit_code() == ExitCode::failure) throw;  // the machine could not read it: that does not make it broken
    return Existing::worthless;
  }
  if (theirs.step == ours.step && same_content(theirs, ours, model_name) && same_content(theirs, ours, optimizer_name))
    return Existing::same;
  if (standing_of(directory) < CheckpointStanding::learned) return Existing::worthless;
  throw failure(
      "it exists with other weights, and a valid checkpoint is never overwritten; this run went on from an older "
      "one: move the newer checkpoints away, or give the run another folder");
}

// Gone with its content unless `release` was called.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directory(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  void release() { path_.clear(); }

 private:
  std::string path_;
};

/// Whether a word whose exponent's bits are all set is among `bytes`: an infinity or a NaN of f32 or bf16.
template <typename Word>
bool has_full_exponent(std::span<const std::byte> bytes, Word exponent) {
  bool found = false;
  for (std::size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    found |= (word & exponent) == exponent;
  }
  return found;
}

bool are_finite(std::string_view dtype, std::span<const std::byte> bytes) {
  if (dtype == "F32") return !has_full_exponent<std::uint32_t>(bytes, 0x7f800000u);
  if (dtype == "BF16") return !has_full_exponent<std::uint16_t>(bytes, 0x7f80u);
  const auto is_nan = [](std::byte code) {
    return (code & std::byte{0x7f}) == std::byte{0x7f};
  };  // E4M3 has no infinity
  return dtype != "F8_E4M3" || std::ranges::none_of(bytes, is_nan);
}

bool is_finite(const NamedTensor& tensor) {
  constexpr std::size_t piece_bytes = 64 << 10;
  std::vector<std::byte> copy;
  for (std::span<const std::byte> left = tensor.data; !left.empty();) {
    auto piece = left.first(std::min(piece_bytes, left.size()));
    left = left.subspan(piece.size());
    if (tensor.backend != nullptr) {
      copy.resize(piece.size());
      tensor.backend->to_host(copy.data(), piece.data(), static_cast<std::int64_t>(piece.size()));
      piece = copy;
    }
    if (!are_finite(tensor.dtype, piece)) return false;
  }
  return true;
}

}  // namespace

const NamedTensor* find_not_finite(const std::vector<NamedTensor>& tensors) {
  const auto bad = std::ranges::find_if_not(tensors, is_finite);
  return bad == tensors.end() ? nullptr : &*bad;
}

std::string write_checkpoint(const std::string& run_dir, const CheckpointContents& contents) {
  const std::string parent = checkpoints_of(run_dir);
  const std::string directory = parent + "/" + checkpoint_name(contents.step);
  std::string space;  // "needs X bytes, Y are free": known before anything is written, wanted by every message
  try {
    check(contents.step >= 0, "step is {}; expected at least 0", contents.step);
    const std::vector<FileToWrite> files = files_of(contents);
    std::int64_t needed = 64 << 10;  // manifest, folders, blocks that are not full
    for (const FileToWrite& file : files) needed += file.size();
    make_directories(parent);
    sync_directory(run_dir);
    const auto free = free_bytes(parent);
    space =
        free ? fmt::format("it needs {} bytes, {} are free", needed, *free) : fmt::format("it needs {} bytes", needed);
    if (free && *free < needed) throw failure("there is not enough space; free some or choose another disk");

    Manifest manifest{.step = contents.step, .files = {}};
    TemporaryFolder temporary(directory + ".tmp");
    const std::string unfinished = directory + ".tmp";
    for (const FileToWrite& file : files) manifest.files.push_back(write_file(unfinished, file));
    const std::string text = manifest_text(manifest);
    write_file(unfinished, {manifest_name, nullptr, text});
    sync_directory(unfinished);

    const Existing existing = look_at_existing(directory, manifest);
    if (existing == Existing::same) return directory;
    if (existing == Existing::worthless) remove_checkpoint(directory);
    rename_path(unfinished, directory);
    temporary.release();
    sync_directory(parent);
    return directory;
  } catch (const std::exception& error) {
    throw failure("{}: cannot save the checkpoint: {}{}{}; earlier checkpoints are untouched", directory, error.what(),
                  space.empty() ? "" : "; ", space);
  }
}

}  // namespace bittern
