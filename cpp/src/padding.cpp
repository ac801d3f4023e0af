#include "padding.hpp"

#include <algorithm>

namespace poolfold {

Padded pad(const std::vector<std::vector<std::int64_t>>& rows, const std::vector<std::size_t>& chosen,
           const Text& text) {
  Padded padded;
  for (const std::size_t row : chosen) padded.seq = std::max(padded.seq, rows[row].size());
  padded.input_ids.assign(chosen.size() * padded.seq, text.pad_token_id);
  padded.attention_mask.assign(chosen.size() * padded.seq, 0);
  for (std::size_t index = 0; index < chosen.size(); ++index) {
    const auto& ids = rows[chosen[index]];
    const std::size_t indent = text.padding_side == "left" ? padded.seq - ids.size() : 0;
    const auto start = static_cast<std::ptrdiff_t>(index * padded.seq + indent);
    std::copy(ids.begin(), ids.end(), padded.input_ids.begin() + start);
    std::fill_n(padded.attention_mask.begin() + start, ids.size(), 1);
  }
  return padded;
}

}  // namespace poolfold
