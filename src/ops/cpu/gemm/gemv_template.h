// The kernels of gemv, written once for all instruction sets: gemm_template.h includes this for Lanes and Load of its
// own.

/// Rows of A as words, `panel_stride` words apart; a row's last vector is filled up with zeros.
template <class Load>
BITTERN_TARGET void widen_rows(const PackJob& job) {
  using Lanes = typename Load::Lanes;
  constexpr std::int64_t step = Lanes::lanes * Load::per_word;
  for (std::int64_t line = 0; line < job.lines; ++line) {
    const auto* src = static_cast<const typename Load::Stored*>(job.src) + line * job.stride;
    std::uint32_t* dst = job.dst + line * job.panel_stride;
    std::int64_t k = 0;
    for (; k + step <= job.k; k += step, dst += Lanes::lanes) Lanes::store_words(dst, Load::along(src + k));
    if (k < job.k) Lanes::store_words(dst, Load::along(src + k, static_cast<int>(job.k - k)));
  }
}

/// sums += the products of `count` elements, at most a vector of words, of rows of A and of B.
template <class Load, int rows, int cols>
BITTERN_INLINE void add_products(typename Load::Lanes::Acc (&sums)[rows][cols], const std::uint32_t* a,
                                 std::int64_t a_stride, const typename Load::Stored* b, std::int64_t b_stride,
                                 int count) {
  using Lanes = typename Load::Lanes;
#pragma GCC unroll 4
  for (int col = 0; col < cols; ++col) {
    const typename Lanes::Words y = Load::along(b + col * b_stride, count);
#pragma GCC unroll 4
    for (int row = 0; row < rows; ++row)
      sums[row][col] = Lanes::multiply_add(sums[row][col], Lanes::load_words(a + row * a_stride), y);
  }
}

/// out[row][first + col] = the lanes of the sum for row `row` of A and row `col` of B.
template <class Load, int rows, int cols>
BITTERN_INLINE void dot_products(typename Load::Lanes::Words (&out)[rows][Load::Lanes::lanes], int first,
                                 const std::uint32_t* a, std::int64_t a_stride, const typename Load::Stored* b,
                                 std::int64_t b_stride, std::int64_t k) {
  using Lanes = typename Load::Lanes;
  constexpr int step = Lanes::lanes * Load::per_word;
  typename Lanes::Acc sums[rows][cols];
#pragma GCC unroll 4
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 4
    for (int col = 0; col < cols; ++col) sums[row][col] = Lanes::zero_acc();
  for (; k >= step; k -= step, a += Lanes::lanes, b += step)
    add_products<Load, rows, cols>(sums, a, a_stride, b, b_stride, step);
  if (k > 0) add_products<Load, rows, cols>(sums, a, a_stride, b, b_stride, static_cast<int>(k));
#pragma GCC unroll 4
  for (int row = 0; row < rows; ++row)
#pragma GCC unroll 4
    for (int col = 0; col < cols; ++col)
      out[row][first + col] = reinterpret_cast<typename Lanes::Words>(sums[row][col]);
}

/// One tile of C: `rows` rows by a vector of columns, of which `cols` exist. The sums' lanes are added by turning the
/// square of them.
template <class Load, int rows>
BITTERN_TARGET void gemv_tile(const GemvJob& job, std::int64_t row, std::int64_t col) {
  using Lanes = typename Load::Lanes;
  constexpr int lanes = Lanes::lanes;
  const std::uint32_t* a = job.a + row * job.a_stride;
  const auto* b = static_cast<const typename Load::Stored*>(job.b) + col * job.b_stride;
  const int cols = job.cols - col < lanes ? static_cast<int>(job.cols - col) : lanes;
  typename Lanes::Words squares[rows][lanes];
  int done = 0;
  for (; done + 4 <= cols; done += 4, b += 4 * job.b_stride)
    dot_products<Load, rows, 4>(squares, done, a, job.a_stride, b, job.b_stride, job.k);
  for (; done < cols; ++done, b += job.b_stride)
    dot_products<Load, rows, 1>(squares, done, a, job.a_stride, b, job.b_stride, job.k);
  for (; done < lanes; ++done)
    for (int i = 0; i < rows; ++i) squares[i][done] = Lanes::zero_words();
  for (int i = 0; i < rows; ++i) {
    Lanes::transpose(squares[i]);
    typename Lanes::Acc sums[lanes];
#pragma GCC unroll 16
    for (int l = 0; l < lanes; ++l) sums[l] = reinterpret_cast<typename Lanes::Acc>(squares[i][l]);
#pragma GCC unroll 4
    for (int half = lanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int l = 0; l < half; ++l) sums[l] = Lanes::add(sums[l], sums[l + half]);
    using Floats = typename Lanes::Floats;
    typename Floats::Acc x = Lanes::floats(sums[0]);
    if (job.row_scales != nullptr) x = Floats::multiply(x, Floats::all(job.row_scales[row + i]));
    if (job.col_scales != nullptr) x = Floats::multiply(x, Floats::load(job.col_scales + col, cols));
    if (job.bias != nullptr) x = Floats::add(x, Floats::load(job.bias + col, cols));
    const std::int64_t at = (row + i) * job.c_stride + col;
    if (job.c_dtype == DType::f32)
      Floats::store(static_cast<float*>(job.c) + at, x, cols);
    else
      Floats::store(static_cast<bf16*>(job.c) + at, x, cols);
  }
}

/// All rows with one tile's columns of B, which stay in the first-level cache meanwhile.
template <class Load>
BITTERN_TARGET void gemv_columns(const GemvJob& job) {
  for (std::int64_t col = 0; col < job.cols; col += Load::Lanes::lanes) {
    std::int64_t row = 0;
    for (; row + 4 <= job.rows; row += 4) gemv_tile<Load, 4>(job, row, col);
    for (; row < job.rows; ++row) gemv_tile<Load, 1>(job, row, col);
  }
}
