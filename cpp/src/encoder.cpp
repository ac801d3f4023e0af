#include "poolfold/encoder.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "inputs.hpp"
#include "outputs.hpp"
#include "padding.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"
#include "session.hpp"

namespace poolfold {

Encoder::Encoder(std::shared_ptr<const Session> session, Model model, std::string strategy, std::string dtype,
                 std::string target, std::size_t dim, std::vector<std::shared_ptr<const PromptStates>> prompts)
    : session_(std::move(session)),
      prompts_(std::move(prompts)),
      model_(std::move(model)),
      strategy_(std::move(strategy)),
      dtype_(std::move(dtype)),
      target_(std::move(target)),
      dim_(dim) {}

Vectors Encoder::embed(const Rows& ids, std::size_t batch_size) const {
  check_batch_size(batch_size);
  check_rows(ids, model_);
  std::map<const PromptStates*, std::vector<std::size_t>> alike;
  for (std::size_t row = 0; row < ids.size(); ++row) alike[prompt_of(ids[row])].push_back(row);
  Vectors vectors{std::vector<float>(ids.size() * dim_), ids.size(), dim_};
  for (auto& [prompt, rows] : alike) embed_behind(prompt, ids, std::move(rows), batch_size, vectors);
  return vectors;
}

// The folded prompt that a row begins with, the longest of them; null for none.
const PromptStates* Encoder::prompt_of(const std::vector<std::int64_t>& ids) const {
  // Where the pooling leaves a prompt out, a row alone does not tell how much of it is one.
  if (!model_.text.include_prompt) return nullptr;
  const PromptStates* found = nullptr;
  for (const auto& prompt : prompts_)
    if (ids.size() > prompt->ids.size() && std::equal(prompt->ids.begin(), prompt->ids.end(), ids.begin()) &&
        (found == nullptr || prompt->ids.size() > found->ids.size()))
      found = prompt.get();
  return found;
}

// Embeds some of the rows, of which the prompt's tokens need not be computed.
void Encoder::embed_behind(const PromptStates* prompt, const Rows& ids, std::vector<std::size_t> rows,
                           std::size_t batch_size, Vectors& into) const {
  std::stable_sort(rows.begin(), rows.end(),
                   [&](std::size_t a, std::size_t b) { return ids[a].size() > ids[b].size(); });
  Text text = model_.text;
  // Padding on the left would lie between the prompt and the text.
  if (prompt != nullptr) text.padding_side = "right";
  for (std::size_t start = 0; start < rows.size();) {
    const std::size_t count = std::min(batch_size, rows.size() - start);
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(start);
    const std::vector<std::size_t> chosen(first, first + static_cast<std::ptrdiff_t>(count));
    const Padded padded = pad(ids, chosen, text, prompt == nullptr ? 0 : prompt->ids.size());
    run({padded.input_ids.data(), padded.attention_mask.data(), count, padded.seq, prompt}, chosen, into);
    start += count;
  }
}

Vectors Encoder::embed(const std::int64_t* input_ids, const std::int64_t* attention_mask, std::size_t batch,
                       std::size_t seq) const {
  check_batch({input_ids, attention_mask, batch, seq}, model_);
  Vectors vectors{std::vector<float>(batch * dim_), batch, dim_};
  if (batch == 0) return vectors;
  std::vector<std::size_t> rows(batch);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  run({input_ids, attention_mask, batch, seq}, rows, vectors);
  return vectors;
}

// Runs the session on a padded batch and copies vector i to index rows[i] of `into`.
void Encoder::run(const Batch& batch, const std::vector<std::size_t>& rows, Vectors& into) const {
  const Vectors given = session_->run(batch);
  if (given.rows != rows.size() || given.dim != dim_) {
    const auto listed = [](std::size_t a, std::size_t b) {
      return shape({static_cast<std::int64_t>(a), static_cast<std::int64_t>(b)});
    };
    throw ArtifactError("the " + strategy_ + " " + dtype_ + " model gave float32 " + listed(given.rows, given.dim) +
                        "; expected float32 " + listed(rows.size(), dim_) +
                        ", as its manifest says. Export the model again.");
  }
  check_vectors(given, rows);
  for (std::size_t index = 0; index < rows.size(); ++index)
    std::copy_n(given.row(index), dim_, into.values.begin() + static_cast<std::ptrdiff_t>(rows[index] * dim_));
}

}  // namespace poolfold
