// The functions of the table in state_rows.cpp, each pair in its own file.
#pragma once

#include "ops/cpu/optimizer/state_rows.h"

namespace bittern::cpu {

void decode_codebook(const Moment& moment, const RowPiece& piece, float* out);
void encode_codebook(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);
void decode_rank1(const Moment& moment, const RowPiece& piece, float* out);
void encode_rank1(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);
void decode_factored(const Moment& moment, const RowPiece& piece, float* out);
void encode_factored(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);
void decode_row_mean(const Moment& moment, const RowPiece& piece, float* out);
void encode_row_mean(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);
void decode_logarithmic(const Moment& moment, const RowPiece& piece, float* out);
void encode_logarithmic(const Moment& moment, const RowPiece& piece, const float* values, std::uint64_t first_element);

}  // namespace bittern::cpu
