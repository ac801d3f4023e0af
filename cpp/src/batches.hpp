// Cuts rows of ids into batches that run together. Pure: lengths in, indices out. As poolfold/tokenise/batches.py.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "poolfold/manifest.hpp"

namespace poolfold {

// Places of a batch, padding included, from which more rows make a token dearer on a CPU, as they leave its
// caches.
inline constexpr std::size_t kTokens = 2048;

// Places from which a batch needs no company of rows that would be padding by more than half.
inline constexpr std::size_t kEnough = 512;

// What one run may take on a CPU: `memory` bytes, of which a run takes what `run` says.
struct Budget {
  double memory;
  RunMemory run;
};

// Bytes that a run of [rows, seq] takes, padding included, behind so many tokens of a folded prompt.
double bytes_of(const RunMemory& run, std::size_t rows, std::size_t seq, std::size_t behind = 0);

// Rows of so many tokens that fit; at least 1, as a row that is too large by itself still runs.
std::size_t rows_within(const Budget& budget, std::size_t seq, std::size_t behind = 0);

// Batches of rows by their indices, longest first, so that little padding is computed. A row beyond the budget runs
// alone; without a budget, as on a GPU, where full batches are the faster ones, `batch_size` alone cuts.
std::vector<std::vector<std::size_t>> batches(const std::vector<std::size_t>& lengths, std::size_t batch_size,
                                              const std::optional<Budget>& budget, std::size_t behind = 0);

}  // namespace poolfold
