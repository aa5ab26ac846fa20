// The loops of the packed matrix product: chooses blocks and parts, packs both operands, and calls microkernels.
#include "ops/cpu/gemm/gemm.h"

#include <algorithm>

#include "bittern/error.h"
#include "ops/cpu/gemm/gemm_blocks.h"
#include "ops/cpu/gemm/gemm_kernels.h"
#include "ops/cpu/gemm/gemm_pack.h"
#include "ops/cpu/gemm/gemm_stage.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::cpu {

bool multiplies_integers(const GemmArgs& args) {
  constexpr std::int64_t longest_k = (1 << 17) - 1;  // of products up to 2^14
  return is_integer_code(args.a.dtype) && is_integer_code(args.b.dtype) && args.k <= longest_k;
}

namespace {

template <class Enum>
constexpr std::size_t index(Enum value) {
  return static_cast<std::size_t>(value);
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

/// One call: its arguments, its kernels and how it is cut (gemm_blocks.h).
class Product {
 public:
  Product(const GemmArgs& args, const GemmSpace& space, int threads)
      : g_(args),
        integers_(multiplies_integers(args)),
        kernels_(integers_ ? gemm_int8_kernels(isa(), int8_dot()) : gemm_kernels(isa(), args.compute)),
        blocks_(gemm_blocks(args, kernels_, space)),
        space_(space),
        threads_(threads),
        b_(static_cast<std::uint32_t*>(args.workspace)),
        sums_(b_ + space.b_words),
        a_(sums_ + space.sum_words),
        stages_(a_ + threads * space.a_words),
        k_scales_(args.b.transposed ? nullptr : args.b.scales) {}

  /// for_each(parts, body(part, worker)) runs the parts of one phase.
  template <class ForEach>
  void run(const ForEach& for_each) {
    for (std::int64_t n = 0; n < g_.n; n += blocks_.n)
      for (std::int64_t m = 0; m < g_.m; m += blocks_.m) {
        std::int64_t k = 0;
        do {  // once even if k is 0: C is still written
          const Range cols = block(n, blocks_.n, g_.n), deep = block(k, blocks_.k_group, g_.k);
          if (m == 0 || blocks_.k_group < g_.k) pack_b(cols, deep, for_each);
          multiply(block(m, blocks_.m, g_.m), cols, deep, for_each);
          k += blocks_.k_group;
        } while (k < g_.k);
      }
  }

 private:
  std::uint32_t* stage_of(int worker) const { return stages_ + worker * gemm_stage_words; }

  /// Where the first panel of B has the k-th element of the group.
  std::uint32_t* b_at(std::int64_t k) const {
    return b_ + k / blocks_.k * blocks_.b_block + k % blocks_.k / kernels_.k_per_word * kernels_.nr;
  }

  /// Parts are some panels where k is inside the lines, else some k of all panels: memory is read in long runs.
  template <class ForEach>
  void pack_b(Range n, Range k, const ForEach& for_each) {
    const bool along = g_.b.transposed;
    const std::int64_t step = along ? kernels_.nr : k_granule;
    const std::int64_t units = ceil_div(along ? n.size() : k.size(), step);
    const std::int64_t parts = std::min(units, 8 * static_cast<std::int64_t>(threads_));
    for_each(parts, [&](std::int64_t part, int worker) {
      const Range own{units * part / parts * step, units * (part + 1) / parts * step};
      const Range lines = along ? Range{n.begin + own.begin, std::min(n.end, n.begin + own.end)} : n;
      const Range deep = along ? k : Range{k.begin + own.begin, std::min(k.end, k.begin + own.end)};
      Range run{deep.begin, deep.begin};
      do {  // once even if k is 0: a panel without k is sealed like any other
        run = {run.end, std::min(deep.end, k.begin + round_up(run.end - k.begin + 1, blocks_.k))};
        std::uint32_t* panel = b_at(run.begin - k.begin) + (lines.begin - n.begin) / kernels_.nr * blocks_.b_panel;
        pack_operand({.matrix = g_.b,
                      .along = along,
                      .integers = integers_,
                      .table = kernels_.pack_b,
                      .width = kernels_.nr,
                      .k_per_word = kernels_.k_per_word,
                      .panel = blocks_.b_panel},
                     lines, run, panel, stage_of(worker));
        for (std::int64_t line = lines.begin; kernels_.seal != nullptr && line < lines.end; line += kernels_.nr) {
          kernels_.seal(panel, words_along(kernels_, run.size()));
          panel += blocks_.b_panel;
        }
      } while (run.end < deep.end);
    });
  }

  /// Parts of C: rows first, several per thread so that none waits long; columns too if there are too few rows. The
  /// blocks of k follow one another within a part, while its C is in the cache.
  template <class ForEach>
  void multiply(Range m, Range n, Range k, const ForEach& for_each) {
    const std::int64_t m_panels = ceil_div(m.size(), kernels_.mr), n_panels = ceil_div(n.size(), kernels_.nr);
    const std::int64_t fewest = ceil_div(m_panels, space_.a_words / blocks_.a_panel);  // so that a part's A finds room
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
        const std::uint32_t* b = b_at(from - k.begin) + n_panels * j / n_parts * blocks_.b_panel;
        compute(rows, cols, block(from, blocks_.k, k.end), b, m.begin, n.begin, worker);
        from += blocks_.k;
      } while (from < k.end);
    });
  }

  /// Whether the microkernel shall read A where it is: 1 to 8 % faster than packing it for so few columns, up to 2 %
  /// slower for more (gemm_bench, Zen 4). Never if rows lie a multiple of 2 KB apart: the rows of a tile would throw
  /// each other out of the L1 cache.
  bool reads_a_unpacked(Range cols, Range k) const {
    return cols.size() <= 512 && !g_.a.transposed && k_scales_ == nullptr &&
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
      pack_operand({.matrix = g_.a,
                    .along = !g_.a.transposed,
                    .integers = integers_,
                    .table = k_scales_ == nullptr ? kernels.pack_a : kernels.pack_scaled_a,
                    .width = kernels.mr,
                    .k_per_word = kernels.k_per_word,
                    .panel = blocks_.a_panel,
                    .k_scales = k_scales_},
                   packed, k, a, stage_of(worker));
    const std::int64_t a_row_bytes = row_bytes(g_.a.dtype, g_.a.stride);
    const char* a_rows = static_cast<const char*>(g_.a.data) + row_bytes(g_.a.dtype, k.begin);

    const std::int64_t k_words = words_along(kernels_, k.size());
    const bool first = k.begin == 0, last = k.end == g_.k;
    const bool add = g_.accumulate || !first;
    const float* bias = first ? g_.bias : nullptr;
    const float* col_scales = g_.b.transposed ? g_.b.scales : nullptr;
    const Entered entered(kernels);
    const bool plain = !blocks_.sum_apart && bias == nullptr && g_.alpha == 1.0f && g_.a.scales == nullptr &&
                       col_scales == nullptr;  // the microkernel writes C
    for (std::int64_t col = cols.begin; col < cols.end; col += kernels.nr, b += blocks_.b_panel) {
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
                                               : a + (row - packed.begin) / kernels.mr * blocks_.a_panel;
          micro({.k_words = k_words,
                 .a = a_tile,
                 .a_stride = a_row_bytes,
                 .b = b,
                 .tile = tile,
                 .tile_stride = stride,
                 .add = add_to_tile,
                 .result = c,
                 .result_stride = g_.c_stride * size_of(g_.c_dtype),
                 .ahead = b + blocks_.b_panel + (row - rows.begin) / kernels.mr * k_words * 4});
        };
        if (plain && width == vectors * kernels.lanes && height % kernels.row_step == 0) {
          multiply_tile(storage_of(g_.c_dtype), c, g_.c_stride, add);
          continue;
        }
        alignas(64) std::uint32_t scratch[max_mr * max_nr];
        std::uint32_t* tile = blocks_.sum_apart ? sums_ + (row - m0) * blocks_.n + (col - n0) : scratch;
        const std::int64_t tile_stride = blocks_.sum_apart ? blocks_.n : kernels.nr;
        multiply_tile(integers_ ? Storage::integer : Storage::f32, tile, tile_stride, blocks_.sum_apart && !first);
        if (blocks_.sum_apart && !last) continue;
        const float* tile_bias = blocks_.sum_apart ? g_.bias : bias;
        kernels.finish(FinishJob{.tile = tile,
                                 .tile_stride = tile_stride,
                                 .rows = height,
                                 .cols = width,
                                 .c = c,
                                 .c_dtype = g_.c_dtype,
                                 .c_stride = g_.c_stride,
                                 .add = blocks_.sum_apart ? g_.accumulate : add,
                                 .bias = tile_bias == nullptr ? nullptr : tile_bias + col,
                                 .alpha = g_.alpha,
                                 .row_scales = g_.a.scales == nullptr ? nullptr : g_.a.scales + row,
                                 .col_scales = col_scales == nullptr ? nullptr : col_scales + col});
      }
    }
  }

  const GemmArgs& g_;
  const bool integers_;
  const GemmKernels& kernels_;
  const GemmBlocks blocks_;
  const GemmSpace& space_;
  const int threads_;
  std::uint32_t *const b_, *const sums_, *const a_, *const stages_;  // the workspace, as GemmSpace divides it
  const float* const k_scales_;                                      // of B, along k, or null
};

bool known(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16;
}

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
  Product(args, parallel_gemm_space, thread_count()).run([](std::int64_t parts, const auto& body) {
    parallel_for(parts, body);
  });
}

void gemm_serial(const GemmArgs& args) {
  Product(args, serial_gemm_space, 1).run([](std::int64_t parts, const auto& body) {
    for (std::int64_t part = 0; part < parts; ++part) body(part, 0);
  });
}

std::int64_t gemm_workspace_bytes(int threads) {
  return parallel_gemm_space.bytes(threads);
}
std::int64_t gemm_serial_workspace_bytes() {
  return serial_gemm_space.bytes(1);
}

}  // namespace bittern::cpu
