#include "padding.hpp"

#include <algorithm>
#include <utility>

namespace poolfold {

Padded pad(const std::vector<std::vector<std::int64_t>>& rows, const std::vector<std::size_t>& chosen,
           const Text& text, std::size_t skipped) {
  Padded padded;
  for (const std::size_t row : chosen) padded.seq = std::max(padded.seq, rows[row].size() - skipped);
  padded.input_ids.assign(chosen.size() * padded.seq, text.pad_token_id);
  padded.attention_mask.assign(chosen.size() * padded.seq, 0);
  for (std::size_t index = 0; index < chosen.size(); ++index) {
    const auto first = rows[chosen[index]].begin() + static_cast<std::ptrdiff_t>(skipped);
    const std::size_t tokens = rows[chosen[index]].size() - skipped;
    const std::size_t indent = text.padding_side == "left" ? padded.seq - tokens : 0;
    const auto start = static_cast<std::ptrdiff_t>(index * padded.seq + indent);
    std::copy_n(first, tokens, padded.input_ids.begin() + start);
    std::fill_n(padded.attention_mask.begin() + start, tokens, 1);
  }
  return padded;
}

Padded cut(const Batch& batch, std::size_t start, std::size_t stop) {
  std::size_t first = batch.seq, end = 0;
  for (std::size_t row = start; row < stop; ++row)
    for (std::size_t column = 0; column < batch.seq; ++column)
      if (batch.attention_mask[row * batch.seq + column] != 0) {
        first = std::min(first, column);
        end = std::max(end, column + 1);
      }
  Padded rows;
  rows.seq = end - first;
  for (std::size_t row = start; row < stop; ++row)
    for (const auto& [from, to] : {std::pair{batch.input_ids, &rows.input_ids},
                                   std::pair{batch.attention_mask, &rows.attention_mask}})
      to->insert(to->end(), from + row * batch.seq + first, from + row * batch.seq + end);
  return rows;
}

}  // namespace poolfold
