#include "inputs.hpp"

#include <string>

#include "poolfold/errors.hpp"

namespace poolfold {
namespace {

[[noreturn]] void refuse_value(const char* name, std::int64_t value, std::size_t row, std::size_t column,
                               std::int64_t stop, const char* meaning) {
  throw InputError(std::string(name) + " holds " + std::to_string(value) + " in row " + std::to_string(row) +
                   ", column " + std::to_string(column) + "; expected [0, " + std::to_string(stop) + "): " + meaning +
                   ". Use this model's own tokeniser.");
}

constexpr const char* kIds = "the rows of the embedding table";
constexpr const char* kMask = "1 for a token and 0 for padding";
constexpr const char* kPromptMask = "1 for a token, 2 for one of the prompt and 0 for padding";

void check_values(const char* name, const std::int64_t* values, const Batch& batch, std::int64_t stop,
                  const char* meaning) {
  for (std::size_t place = 0; place < batch.size(); ++place)
    if (values[place] < 0 || values[place] >= stop)
      refuse_value(name, values[place], place / batch.seq, place % batch.seq, stop, meaning);
}

}  // namespace

void check_batch(const Batch& batch, const Model& model) {
  if (batch.batch == 0) return;
  const auto limit = static_cast<std::size_t>(model.text.max_seq_length);
  if (batch.seq < 1 || batch.seq > limit)
    throw InputError("input_ids has " + std::to_string(batch.seq) + " tokens a row; expected 1 to " +
                     std::to_string(limit) + ", this model's max_seq_length. Truncate it.");
  check_values("input_ids", batch.input_ids, batch, model.vocab_size, kIds);
  const bool plain = model.text.include_prompt;
  check_values("attention_mask", batch.attention_mask, batch, plain ? 2 : 3, plain ? kMask : kPromptMask);
  for (std::size_t row = 0; row < batch.batch; ++row) {
    const std::int64_t* mask = batch.attention_mask + row * batch.seq;
    bool marked = false;
    for (std::size_t column = 0; column < batch.seq; ++column) marked = marked || mask[column] == 1;
    if (!marked)
      throw InputError("row " + std::to_string(row) +
                       " of attention_mask marks no token, and the embedding of nothing is undefined. "
                       "Leave the row out, or mark its tokens with 1.");
  }
}

void check_rows(const std::vector<std::vector<std::int64_t>>& rows, const Model& model) {
  const auto limit = static_cast<std::size_t>(model.text.max_seq_length);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto& ids = rows[row];
    if (ids.empty())
      throw InputError("row " + std::to_string(row) +
                       " of input_ids holds no token, and the embedding of nothing is undefined. Leave it out.");
    if (ids.size() > limit)
      throw InputError("row " + std::to_string(row) + " of input_ids has " + std::to_string(ids.size()) +
                       " tokens; expected 1 to " + std::to_string(limit) +
                       ", this model's max_seq_length. Truncate it.");
    for (std::size_t column = 0; column < ids.size(); ++column)
      if (ids[column] < 0 || ids[column] >= model.vocab_size)
        refuse_value("input_ids", ids[column], row, column, model.vocab_size, kIds);
  }
}

void check_batch_size(std::size_t batch_size) {
  if (batch_size < 1) throw InputError("batch_size is 0; expected a whole number, 1 or more.");
}

void check_memory(std::optional<std::size_t> memory) {
  if (memory && *memory < 1)
    throw InputError("memory is 0; expected bytes, a whole number of 1 or more, or std::nullopt for half of what this "
                     "process may take.");
}

}  // namespace poolfold
