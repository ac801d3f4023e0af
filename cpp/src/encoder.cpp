#include "poolfold/encoder.hpp"

#include <algorithm>
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
                 std::string target, std::size_t dim)
    : session_(std::move(session)),
      model_(std::move(model)),
      strategy_(std::move(strategy)),
      dtype_(std::move(dtype)),
      target_(std::move(target)),
      dim_(dim) {}

Vectors Encoder::embed(const std::vector<std::vector<std::int64_t>>& ids, std::size_t batch_size) const {
  check_batch_size(batch_size);
  check_rows(ids, model_);
  std::vector<std::size_t> longest_first(ids.size());
  std::iota(longest_first.begin(), longest_first.end(), std::size_t{0});
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](std::size_t a, std::size_t b) { return ids[a].size() > ids[b].size(); });
  Vectors vectors{std::vector<float>(ids.size() * dim_), ids.size(), dim_};
  for (std::size_t start = 0; start < ids.size();) {
    const std::size_t count = std::min(batch_size, ids.size() - start);
    const auto first = longest_first.begin() + static_cast<std::ptrdiff_t>(start);
    const std::vector<std::size_t> rows(first, first + static_cast<std::ptrdiff_t>(count));
    const Padded padded = pad(ids, rows, model_.text);
    run(padded.input_ids.data(), padded.attention_mask.data(), padded.seq, rows, vectors);
    start += count;
  }
  return vectors;
}

Vectors Encoder::embed(const std::int64_t* input_ids, const std::int64_t* attention_mask, std::size_t batch,
                       std::size_t seq) const {
  check_batch({input_ids, attention_mask, batch, seq}, model_);
  Vectors vectors{std::vector<float>(batch * dim_), batch, dim_};
  if (batch == 0) return vectors;
  std::vector<std::size_t> rows(batch);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  run(input_ids, attention_mask, seq, rows, vectors);
  return vectors;
}

// Runs the session on a padded batch and copies vector i to index rows[i] of `into`.
void Encoder::run(const std::int64_t* ids, const std::int64_t* mask, std::size_t seq,
                  const std::vector<std::size_t>& rows, Vectors& into) const {
  const Vectors given = session_->run({ids, mask, rows.size(), seq});
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
