#include "batches.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace poolfold {
namespace {

// Rows that no memory holds: the most that is computed with.
constexpr double kMostRows = 1 << 30;

}  // namespace

double bytes_of(const RunMemory& run, std::size_t rows, std::size_t seq, std::size_t behind) {
  const auto pair = static_cast<double>(run.score_bytes) + static_cast<double>(run.mask_bytes);
  const bool sliced = run.slice > 0 && seq > static_cast<std::size_t>(run.whole_up_to);
  const std::size_t queries = sliced ? std::min(seq, static_cast<std::size_t>(run.slice)) : seq;
  return static_cast<double>(rows) * (static_cast<double>(seq) * static_cast<double>(run.token_bytes) +
                                      static_cast<double>(queries) * static_cast<double>(seq + behind) * pair);
}

std::size_t rows_within(const Budget& budget, std::size_t seq, std::size_t behind) {
  const double rows = std::floor(budget.memory / std::max(1.0, bytes_of(budget.run, 1, seq, behind)));
  return static_cast<std::size_t>(std::clamp(rows, 1.0, kMostRows));
}

std::vector<std::vector<std::size_t>> batches(const std::vector<std::size_t>& lengths, std::size_t batch_size,
                                              const std::optional<Budget>& budget, std::size_t behind) {
  std::vector<std::size_t> longest_first(lengths.size());
  std::iota(longest_first.begin(), longest_first.end(), std::size_t{0});
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<std::size_t>> cut;
  for (std::size_t start = 0; start < lengths.size(); start += cut.back().size()) {
    const std::size_t seq = lengths[longest_first[start]];
    std::size_t rows = std::min(batch_size, lengths.size() - start);
    if (budget) {
      rows = std::min({rows, rows_within(*budget, seq, behind), std::max<std::size_t>(1, kTokens / seq)});
      while (rows > 1 && (rows - 1) * seq >= kEnough && 2 * lengths[longest_first[start + rows - 1]] < seq) --rows;
    }
    const auto first = longest_first.begin() + static_cast<std::ptrdiff_t>(start);
    cut.emplace_back(first, first + static_cast<std::ptrdiff_t>(rows));
  }
  return cut;
}

}  // namespace poolfold
