#include "ops/cpu/gemm.h"

#include <algorithm>
#include <utility>

#include "bittern/error.h"
#include "ops/cpu/gemm_kernels.h"
#include "ops/cpu/gemm_stage.h"
#include "ops/cpu/parallel.h"

namespace bittern::cpu {

bool multiplies_integers(const GemmArgs& args) {
  constexpr std::int64_t longest_k = (1 << 17) - 1;  // of products up to 2^14
  const auto is_integer = [](DType dtype) { return is_quantized(dtype) && dtype != DType::e4m3; };
  return is_integer(args.a.dtype) && is_integer(args.b.dtype) && args.k <= longest_k;
}

namespace {

// A word is 4 bytes (gemm_kernels.h). Tuned by tests/bench/gemm_bench on a Zen 4 (32 KB L1, 1 MB L2).
constexpr std::int64_t k_step = 32;  // k blocks are multiples of the widest vector of elements

/// What a call may use, in words and floats.
struct Space {
  std::int64_t b_words;      // packed B, shared by the threads
  std::int64_t a_words;      // packed A, one per thread
  std::int64_t sum_words;    // sums between blocks of k that C cannot hold
  std::int64_t stage_words;  // a piece of an operand on its way to the packers, one per thread
};
// All threads: B in their L3, A in half of an L2. One tile: everything in an L2. Both hold at least one panel.
constexpr Space parallel_space{1 << 20, 128 << 10, 1 << 20, 8 << 10};
constexpr Space serial_space{96 << 10, 32 << 10, 32 << 10, 8 << 10};

constexpr std::int64_t bytes_of(const Space& space, int threads) {
  return 4 * (space.b_words + space.sum_words + threads * (space.a_words + space.stage_words));
}

// Pieces that are staged: a panel's lines by 256 of k, or 256 lines by 32 of k.
constexpr std::int64_t stage_run = 256, stage_rows = 32;
static_assert(max_mr <= stage_rows && max_nr <= stage_rows);

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) {
  return ceil_div(a, b) * b;
}

/// The size of equal blocks of at most `most` that cover n, a multiple of `step` (as `most` is).
constexpr std::int64_t balanced(std::int64_t n, std::int64_t most, std::int64_t step) {
  return n == 0 ? step : round_up(ceil_div(n, ceil_div(n, most)), step);
}

Storage storage_of(DType dtype) {
  return dtype == DType::f32 ? Storage::f32 : dtype == DType::bf16 ? Storage::bf16 : Storage::integer;
}
bool known(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16;
}
template <class Enum>
constexpr std::size_t index(Enum value) {
  return static_cast<std::size_t>(value);
}

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
Range block(std::int64_t begin, std::int64_t size, std::int64_t n) {
  return {begin, std::min(n, begin + size)};
}

struct Entered {
  explicit Entered(const GemmKernels& kernels) : leave(kernels.leave) {
    if (kernels.enter != nullptr) kernels.enter();
  }
  ~Entered() {
    if (leave != nullptr) leave();
  }
  void (*leave)();
};

/// One call: its arguments, its kernels and how it is cut. B is packed for a block of n and as many blocks of k as
/// there is room for (all threads), then the rows of C are shared out; each part packs its rows of A and runs the
/// microkernel, block by block of k.
class Product {
 public:
  Product(const GemmArgs& args, const Space& space, int threads)
      : g_(args),
        integers_(multiplies_integers(args)),
        kernels_(integers_ ? gemm_int8_kernels(isa(), int8_dot()) : gemm_kernels(isa(), args.compute)),
        space_(space),
        threads_(threads) {
    k_block_ = balanced(g_.k, kernels_.max_k_words * kernels_.k_per_word, k_step);
    const std::int64_t k_words = words_along(std::min(g_.k, k_block_));
    a_panel_ = kernels_.mr * k_words + panel_padding;
    b_panel_ = kernels_.nr * k_words + kernels_.b_tail + panel_padding;
    b_ = static_cast<std::uint32_t*>(g_.workspace);
    sums_ = b_ + space.b_words;
    a_ = sums_ + space.sum_words;
    stages_ = a_ + threads * space.a_words;
    k_scales_ = g_.b.transposed ? nullptr : g_.b.scales;
    n_block_ = balanced(g_.n, space.b_words / b_panel_ * kernels_.nr, kernels_.nr);
    m_block_ = g_.m;
    sum_apart_ = (integers_ || g_.c_dtype != DType::f32) && g_.k > k_block_;
    if (sum_apart_) {
      n_block_ = std::min(n_block_, space.sum_words / (2 * kernels_.mr) / kernels_.nr * kernels_.nr);
      m_block_ = balanced(g_.m, space.sum_words / n_block_ / kernels_.mr * kernels_.mr, kernels_.mr);
    }
    b_block_ = n_block_ / kernels_.nr * b_panel_;
    k_group_ = std::max<std::int64_t>(1, space.b_words / b_block_) * k_block_;
  }

  /// for_each(parts, body(part, worker)) runs the parts of one phase.
  template <class ForEach>
  void run(const ForEach& for_each) {
    for (std::int64_t n = 0; n < g_.n; n += n_block_)
      for (std::int64_t m = 0; m < g_.m; m += m_block_) {
        std::int64_t k = 0;
        do {  // once even if k is 0: C is still written
          const Range cols = block(n, n_block_, g_.n), deep = block(k, k_group_, g_.k);
          if (m == 0 || k_group_ < g_.k) pack_b(cols, deep, for_each);
          multiply(block(m, m_block_, g_.m), cols, deep, for_each);
          k += k_group_;
        } while (k < g_.k);
      }
  }

 private:
  /// Words of a panel for k elements.
  std::int64_t words_along(std::int64_t k) const { return round_up(ceil_div(k, kernels_.k_per_word), kernels_.k_step); }

  /// Where the first panel of B has the k-th element of the group.
  std::uint32_t* b_at(std::int64_t k) const {
    return b_ + k / k_block_ * b_block_ + k % k_block_ / kernels_.k_per_word * kernels_.nr;
  }

  /// Parts are some panels where k is inside the lines, else some k of all panels: memory is read in long runs.
  template <class ForEach>
  void pack_b(Range n, Range k, const ForEach& for_each) {
    const bool along = g_.b.transposed;
    const std::int64_t step = along ? kernels_.nr : k_step;
    const std::int64_t units = ceil_div(along ? n.size() : k.size(), step);
    const std::int64_t parts = std::min(units, 8 * static_cast<std::int64_t>(threads_));
    for_each(parts, [&](std::int64_t part, int worker) {
      const Range own{units * part / parts * step, units * (part + 1) / parts * step};
      const Range lines = along ? Range{n.begin + own.begin, std::min(n.end, n.begin + own.end)} : n;
      const Range deep = along ? k : Range{k.begin + own.begin, std::min(k.end, k.begin + own.end)};
      Range run{deep.begin, deep.begin};
      do {  // once even if k is 0: a panel without k is sealed like any other
        run = {run.end, std::min(deep.end, k.begin + round_up(run.end - k.begin + 1, k_block_))};
        std::uint32_t* panel = b_at(run.begin - k.begin) + (lines.begin - n.begin) / kernels_.nr * b_panel_;
        pack({.matrix = g_.b, .along = along, .table = kernels_.pack_b, .width = kernels_.nr, .panel = b_panel_}, lines,
             run, panel, worker);
        for (std::int64_t line = lines.begin; kernels_.seal != nullptr && line < lines.end; line += kernels_.nr) {
          kernels_.seal(panel, words_along(run.size()));
          panel += b_panel_;
        }
      } while (run.end < deep.end);
    });
  }

  /// Parts of C: rows first, several per thread so that none waits long; columns too if there are too few rows. The
  /// blocks of k follow one another within a part, while its C is in the cache.
  template <class ForEach>
  void multiply(Range m, Range n, Range k, const ForEach& for_each) {
    const std::int64_t m_panels = ceil_div(m.size(), kernels_.mr), n_panels = ceil_div(n.size(), kernels_.nr);
    const std::int64_t fewest = ceil_div(m_panels, space_.a_words / a_panel_);  // so that a part's A finds room
    const std::int64_t wanted = threads_ == 1 ? 1 : 8 * threads_;
    const std::int64_t most = std::max<std::int64_t>(1, m.size() / kernels_.min_part_rows);
    const std::int64_t m_parts = std::min(m_panels, round_up(std::max(fewest, std::min(wanted, most)), threads_));
    // Parts side by side each pack the same A: no more of them than keep the threads busy.
    const std::int64_t parts = reads_a_unpacked(n, k) ? wanted : std::min<std::int64_t>(wanted, 2 * threads_);
    const std::int64_t n_parts = std::min(n_panels, ceil_div(parts, m_parts));
    for_each(m_parts * n_parts, [&](std::int64_t part, int worker) {
      const std::int64_t i = part / n_parts, j = part % n_parts;
      const Range rows{m.begin + m_panels * i / m_parts * kernels_.mr,
                       std::min(m.end, m.begin + m_panels * (i + 1) / m_parts * kernels_.mr)};
      const Range cols{n.begin + n_panels * j / n_parts * kernels_.nr,
                       std::min(n.end, n.begin + n_panels * (j + 1) / n_parts * kernels_.nr)};
      std::int64_t from = k.begin;
      do {
        const std::uint32_t* b = b_at(from - k.begin) + n_panels * j / n_parts * b_panel_;
        compute(rows, cols, block(from, k_block_, k.end), b, m.begin, n.begin, worker);
        from += k_block_;
      } while (from < k.end);
    });
  }

  /// An operand and how its panels are made.
  struct Side {
    const GemmMatrix& matrix;
    bool along;  // k is inside its lines
    const std::array<std::array<PackFn, storages>, 2>& table;
    std::int64_t width, panel;  // lines of a panel, words between panels
  };

  /// Whether the packers read a copy: codes but bytes of integers.
  bool staged(const GemmMatrix& x) const { return integers_ ? x.dtype != DType::i8 : !known(x.dtype); }

  void pack(const Side& side, Range lines, Range k, std::uint32_t* dst, int worker) const {
    const GemmMatrix& x = side.matrix;
    const auto first = [&](Range some_lines, Range some_k) {
      const auto [row, col] =
          side.along ? std::pair(some_lines.begin, some_k.begin) : std::pair(some_k.begin, some_lines.begin);
      return static_cast<const char*>(x.data) + row * row_bytes(x.dtype, x.stride) + row_bytes(x.dtype, col);
    };
    const auto& packers = side.table[index(side.along ? Layout::along_k : Layout::across_k)];
    if (!staged(x)) {
      packers[index(storage_of(x.dtype))]({.src = first(lines, k),
                                           .stride = x.stride,
                                           .lines = lines.size(),
                                           .k = k.size(),
                                           .dst = dst,
                                           .panel_stride = side.panel,
                                           .k_scales = k_scales_ == nullptr ? nullptr : k_scales_ + k.begin});
      return;
    }
    std::uint32_t* const stage = stages_ + worker * space_.stage_words;
    const std::int64_t some_lines = side.along ? side.width : stage_run / side.width * side.width;
    const std::int64_t some_k = side.along ? stage_run : stage_rows;
    for (std::int64_t line = lines.begin; line < lines.end; line += some_lines)
      for (std::int64_t deep = k.begin; deep < k.end; deep += some_k) {
        const Range l = block(line, some_lines, lines.end), d = block(deep, some_k, k.end);
        const StagePiece piece{.src = first(l, d),
                               .row_bytes = row_bytes(x.dtype, x.stride),
                               .dtype = x.dtype,
                               .rows = side.along ? l.size() : d.size(),
                               .cols = side.along ? d.size() : l.size()};
        if (integers_)
          stage_integers(piece, reinterpret_cast<std::int8_t*>(stage), stage_run);
        else
          stage_codes(piece, reinterpret_cast<bf16*>(stage), stage_run);
        packers[index(integers_ ? Storage::integer : Storage::bf16)](
            {.src = stage,
             .stride = stage_run,
             .lines = l.size(),
             .k = d.size(),
             .dst = dst + (line - lines.begin) / side.width * side.panel +
                    (deep - k.begin) / kernels_.k_per_word * side.width,
             .panel_stride = side.panel});
      }
  }

  /// Whether the microkernel shall read A where it is: 1 to 8 % faster than packing it for so few columns, up to 2 %
  /// slower for more (gemm_bench, Zen 4). Never if rows lie a multiple of 2 KB apart: the rows of a tile would throw
  /// each other out of the L1 cache.
  bool reads_a_unpacked(Range cols, Range k) const {
    return cols.size() <= 512 && !g_.a.transposed && !staged(g_.a) && k_scales_ == nullptr &&
           kernels_.as_stored == storage_of(g_.a.dtype) && k.size() % (kernels_.k_per_word * kernels_.k_step) == 0 &&
           g_.a.stride * size_of(g_.a.dtype) % 2048 != 0;
  }

  /// One part, one block of k. `b` has the panels of its columns; C of a block of sums begins at (m0, n0).
  void compute(Range rows, Range cols, Range k, const std::uint32_t* b, std::int64_t m0, std::int64_t n0,
               int worker) const {
    const GemmKernels& kernels = kernels_;
    std::uint32_t* const a = a_ + worker * space_.a_words;
    // Whole tiles of rows can be read as they are; what is left, or everything, is packed.
    const std::int64_t unpacked = reads_a_unpacked(cols, k) ? rows.size() / kernels.mr * kernels.mr : 0;
    const Range packed{rows.begin + unpacked, rows.end};
    if (packed.size() > 0)
      pack({.matrix = g_.a,
            .along = !g_.a.transposed,
            .table = k_scales_ == nullptr ? kernels.pack_a : kernels.pack_scaled_a,
            .width = kernels.mr,
            .panel = a_panel_},
           packed, k, a, worker);
    const std::int64_t a_row_bytes = row_bytes(g_.a.dtype, g_.a.stride);
    const char* a_rows = static_cast<const char*>(g_.a.data) + row_bytes(g_.a.dtype, k.begin);

    const std::int64_t k_words = words_along(k.size());
    const bool first = k.begin == 0, last = k.end == g_.k;
    const bool add = g_.accumulate || !first;
    const float* bias = first ? g_.bias : nullptr;
    const float* col_scales = g_.b.transposed ? g_.b.scales : nullptr;
    const Entered entered(kernels);
    const bool plain = !sum_apart_ && bias == nullptr && g_.alpha == 1.0f && g_.a.scales == nullptr &&
                       col_scales == nullptr;  // the microkernel writes C
    for (std::int64_t col = cols.begin; col < cols.end; col += kernels.nr, b += b_panel_) {
      const std::int64_t width = std::min<std::int64_t>(kernels.nr, cols.end - col);
      const std::int64_t vectors = ceil_div(width, kernels.lanes);
      for (std::int64_t row = rows.begin; row < rows.end; row += kernels.mr) {
        const std::int64_t height = std::min<std::int64_t>(kernels.mr, rows.end - row);
        char* const c = static_cast<char*>(g_.c) + (row * g_.c_stride + col) * size_of(g_.c_dtype);
        const auto multiply_tile = [&](Storage storage, void* tile, std::int64_t stride, bool add_to_tile) {
          const bool as_stored = row < packed.begin;
          const auto vector = static_cast<std::size_t>(vectors - 1);
          const auto row_step = static_cast<std::size_t>((height - 1) / kernels.row_step);
          const MicroFn micro = as_stored ? kernels.micro_unpacked[index(storage)][vector]
                                          : kernels.micro[index(storage)][row_step][vector];
          const void* const a_tile = as_stored ? static_cast<const void*>(a_rows + row * a_row_bytes)
                                               : a + (row - packed.begin) / kernels.mr * a_panel_;
          micro({.k_words = k_words,
                 .a = a_tile,
                 .a_stride = a_row_bytes,
                 .b = b,
                 .tile = tile,
                 .tile_stride = stride,
                 .add = add_to_tile,
                 .result = c,
                 .result_stride = g_.c_stride * size_of(g_.c_dtype),
                 .ahead = b + b_panel_ + (row - rows.begin) / kernels.mr * k_words * 4});
        };
        if (plain && width == vectors * kernels.lanes && height % kernels.row_step == 0) {
          multiply_tile(storage_of(g_.c_dtype), c, g_.c_stride, add);
          continue;
        }
        alignas(64) std::uint32_t scratch[max_mr * max_nr];
        std::uint32_t* tile = sum_apart_ ? sums_ + (row - m0) * n_block_ + (col - n0) : scratch;
        const std::int64_t tile_stride = sum_apart_ ? n_block_ : kernels.nr;
        multiply_tile(integers_ ? Storage::integer : Storage::f32, tile, tile_stride, sum_apart_ && !first);
        if (sum_apart_ && !last) continue;
        const float* tile_bias = sum_apart_ ? g_.bias : bias;
        kernels.finish(FinishJob{.tile = tile,
                                 .tile_stride = tile_stride,
                                 .rows = height,
                                 .cols = width,
                                 .c = c,
                                 .c_dtype = g_.c_dtype,
                                 .c_stride = g_.c_stride,
                                 .add = sum_apart_ ? g_.accumulate : add,
                                 .bias = tile_bias == nullptr ? nullptr : tile_bias + col,
                                 .alpha = g_.alpha,
                                 .row_scales = g_.a.scales == nullptr ? nullptr : g_.a.scales + row,
                                 .col_scales = col_scales == nullptr ? nullptr : col_scales + col});
      }
    }
  }

  const GemmArgs& g_;
  bool integers_;
  const GemmKernels& kernels_;
  const Space& space_;
  int threads_;
  std::int64_t k_block_, n_block_, m_block_;
  std::int64_t k_group_;            // blocks of k for which B is packed at a time
  std::int64_t a_panel_, b_panel_;  // words from one panel to the next
  std::int64_t b_block_;            // words from one block of k to the next
  bool sum_apart_;                  // k has several blocks, and C cannot hold a sum between them
  std::uint32_t *b_, *sums_, *a_, *stages_;
  const float* k_scales_;  // of B, along k, or null
};

void check_args(const GemmArgs& g) {
  check(g.m >= 0 && g.n >= 0 && g.k >= 0, "gemm: sizes must not be negative, got m {} n {} k {}", g.m, g.n, g.k);
  check(known(g.c_dtype) && known(g.compute), "gemm: C and compute must be f32 or bf16, got {} and {}", name(g.c_dtype),
        name(g.compute));
  for (const GemmMatrix& x : {g.a, g.b})
    check(known(x.dtype) ? x.scales == nullptr : is_quantized(x.dtype) && x.scales != nullptr,
          "gemm: A and B must be f32 or bf16, or codes with scales, got {} {} scales", name(x.dtype),
          x.scales == nullptr ? "without" : "with");
  check(known(g.a.dtype) || (!g.a.transposed && (known(g.b.dtype) || g.b.transposed)),
        "gemm: scales of A may not lie along k, and A may not be codes where those of B do");
  check(reinterpret_cast<std::uintptr_t>(g.workspace) % 64 == 0, "gemm: the workspace must be 64-byte aligned");
}

}  // namespace

void gemm(const GemmArgs& args) {
  check_args(args);
  Product(args, parallel_space, thread_count()).run([](std::int64_t parts, const auto& body) {
    parallel_for(parts, body);
  });
}

void gemm_serial(const GemmArgs& args) {
  Product(args, serial_space, 1).run([](std::int64_t parts, const auto& body) {
    for (std::int64_t part = 0; part < parts; ++part) body(part, 0);
  });
}

std::int64_t gemm_workspace_bytes(int threads) {
  return bytes_of(parallel_space, threads);
}
std::int64_t gemm_serial_workspace_bytes() {
  return bytes_of(serial_space, 1);
}

}  // namespace bittern::cpu
