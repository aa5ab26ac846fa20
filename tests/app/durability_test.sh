#!/usr/bin/env bash
# A checkpoint survives a power cut: the order of what reaches the disk, as the system is asked for it. Each file is fsynced after its
# last write, then its folder, then the folder gets its name, then that name is fsynced; and only then an older checkpoint goes. Calls
# are noted by a library loaded before the C library (LD_PRELOAD); sanitizers must be first themselves, so they leave the test out.
set -euo pipefail
if grep -qaE "__(asan|tsan)_init" "$BITTERN"; then
  echo "SKIPPED: a sanitizer must be loaded first, and so must the library that notes the calls"
  exit 77
fi
cat >noted.cpp <<'E2'
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {
template <typename F>
F* real(const char* name) { return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name)); }

void note(const char* call, const char* path, const char* to = "") {
  char line[4096];
  const int length = std::snprintf(line, sizeof line, "%s\t%s\t%s\n", call, path, to);
  const int file = open(std::getenv("NOTED"), O_WRONLY | O_APPEND | O_CREAT, 0644);
  static auto* write_it = real<ssize_t(int, const void*, size_t)>("write");
  if (write_it(file, line, static_cast<size_t>(length)) != length) std::abort();
  close(file);
}
void note(const char* call, int descriptor) {
  char link[64], path[2048];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  note(call, path);
}
}  // namespace

extern "C" {
int fsync(int fd) { static auto* call = real<int(int)>("fsync"); const int result = call(fd); note("fsync", fd); return result; }
int rename(const char* from, const char* to) {
  static auto* call = real<int(const char*, const char*)>("rename");
  const int result = call(from, to);
  note("rename", from, to);
  return result;
}
ssize_t write(int fd, const void* data, size_t n) {
  static auto* call = real<ssize_t(int, const void*, size_t)>("write");
  note("write", fd);
  return call(fd, data, n);
}
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) {
  static auto* call = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  note("write", fd);
  return call(fd, data, n, at);
}
ssize_t pwrite64(int fd, const void* data, size_t n, off_t at) { return pwrite(fd, data, n, at); }
ssize_t writev(int fd, const iovec* pieces, int n) {
  static auto* call = real<ssize_t(int, const iovec*, int)>("writev");
  note("write", fd);
  return call(fd, pieces, n);
}
}
E2
${CXX:-c++} -std=c++20 -O1 -shared -fPIC noted.cpp -o noted.so -ldl

for i in $(seq 400); do echo "the heron number $i waits for fish $((i * 31 % 97))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16},
 "train": {"steps": 12, "batch_sequences": 2, "sample_every": 0, "evaluate_every": 0, "checkpoint_every": 4, "keep_checkpoints": 1}}
E2
NOTED=$PWD/noted.txt LD_PRELOAD=$PWD/noted.so "$BITTERN" train config.json --out run 2>log.txt || { cat log.txt; exit 1; }

python3 - <<'E2'
import os, re

calls = [line.rstrip("\n").split("\t") for line in open("noted.txt")]
folder = os.path.realpath("run/checkpoints")
absolute = os.path.abspath
is_checkpoint = lambda path: re.fullmatch(r"step_\d{8}", os.path.basename(path))
saves = [i for i, (call, _, to) in enumerate(calls) if call == "rename" and is_checkpoint(to)]
assert [os.path.basename(calls[i][2]) for i in saves] == [f"step_{step:08}" for step in (4, 8, 12)], [calls[i] for i in saves]
durable = []  # when each save was
for save in saves:
    unfinished = absolute(calls[save][1])
    last = {}  # call -> path -> when last, before the rename
    for i, (call, path, _) in enumerate(calls[:save]):
        last.setdefault(call, {})[path] = i
    written = [path for path in last["write"] if os.path.dirname(path) == unfinished]
    names = {os.path.basename(path) for path in written}
    assert {"model.safetensors", "optimizer.safetensors", "trainer.json", "config.json", "manifest.json"} <= names, names
    for path in written:
        assert last["fsync"].get(path, -1) > last["write"][path], f"{path} got its place without an fsync after its last write"
    assert last["fsync"].get(unfinished, -1) > max(last["fsync"][path] for path in written), f"{unfinished} was not fsynced after its files"
    after = [i for i, (call, path, _) in enumerate(calls) if i > save and call == "fsync" and path == folder]
    assert after, f"{folder} was not fsynced after {calls[save]}"
    durable.append(after[0])
# An older checkpoint is taken away (renamed, to a name that no reader looks at) when the newer one is on the disk.
taken = [(i, os.path.basename(path)) for i, (call, path, _) in enumerate(calls) if call == "rename" and is_checkpoint(path)]
assert [name for _, name in taken] == ["step_00000004"], taken
for (i, name), newer in zip(taken, durable[1:]):
    assert newer < i, f"{name} was taken away before a newer checkpoint was on the disk"
# The last one is not proven by a step that followed, so the one before it stays.
assert sorted(os.listdir("run/checkpoints")) == ["step_00000008", "step_00000012"], os.listdir("run/checkpoints")
print(f"durability: {len(saves)} checkpoints, each on the disk before it had its name, and before an older one went")
E2
