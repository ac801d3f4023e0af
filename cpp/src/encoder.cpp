#include "poolfold/encoder.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "batches.hpp"
#include "inputs.hpp"
#include "memory.hpp"
#include "outputs.hpp"
#include "padding.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"
#include "session.hpp"

namespace poolfold {
namespace {

// A run of so many bytes is run without a look at what is free, which takes a tenth of a millisecond and more.
constexpr double kLittle = 1 << 26;

// "1,234": bytes in MiB.
std::string mebibytes(std::int64_t bytes) {
  std::string digits = std::to_string(std::llrint(static_cast<double>(bytes) / (1 << 20)));
  for (std::size_t behind = 3; behind < digits.size(); behind += 4) digits.insert(digits.size() - behind, ",");
  return digits;
}

std::ptrdiff_t as_difference(std::size_t place) { return static_cast<std::ptrdiff_t>(place); }

// The error for a row that takes too much by itself.
OutOfMemory alone_too_large(std::size_t row, const Batch& batch, const std::string& target, const OutOfMemory& error) {
  const auto tokens = std::count_if(batch.attention_mask, batch.attention_mask + batch.size(),
                                    [](std::int64_t mark) { return mark != 0; });
  std::string asked;
  if (error.asked()) asked = " (" + target + " asked for " + mebibytes(*error.asked()) + " MiB at once)";
  return OutOfMemory("row " + std::to_string(row) + " of " + std::to_string(tokens) +
                         " tokens takes more memory than this process may have" + asked +
                         ". Free some, raise the limit, run fewer calls at once, or shorten the text: `poolfold export "
                         "--max-seq-length` does for all.",
                     error.asked());
}

}  // namespace

Encoder::Encoder(std::shared_ptr<const Session> session, Model model, std::string strategy, std::string dtype,
                 std::string target, std::size_t dim, std::vector<std::shared_ptr<const PromptStates>> prompts,
                 std::optional<RunMemory> run_memory, std::optional<std::size_t> memory)
    : session_(std::move(session)),
      prompts_(std::move(prompts)),
      model_(std::move(model)),
      strategy_(std::move(strategy)),
      dtype_(std::move(dtype)),
      target_(std::move(target)),
      dim_(dim),
      run_memory_(run_memory),
      memory_(memory) {}

Vectors Encoder::embed(const Rows& ids, std::size_t batch_size, std::optional<std::size_t> memory) const {
  check_batch_size(batch_size);
  check_memory(memory);
  check_rows(ids, model_);
  std::map<const PromptStates*, std::vector<std::size_t>> alike;
  for (std::size_t row = 0; row < ids.size(); ++row) alike[prompt_of(ids[row])].push_back(row);
  std::size_t longest = 0, behind = 0;
  for (const auto& row : ids) longest = std::max(longest, row.size());
  for (const auto& [prompt, rows] : alike) behind = std::max(behind, prompt == nullptr ? 0 : prompt->ids.size());
  const auto budget = budget_of(memory, std::min(batch_size, ids.size()), longest, behind);
  Vectors vectors{std::vector<float>(ids.size() * dim_), ids.size(), dim_};
  for (const auto& [prompt, rows] : alike) embed_behind(prompt, ids, rows, batch_size, budget, vectors);
  return vectors;
}

// What a run may take, where at most `rows` of `seq` tokens run at once, behind a folded prompt or not; none for engines.
std::optional<Budget> Encoder::budget_of(std::optional<std::size_t> memory, std::size_t rows, std::size_t seq,
                                         std::size_t behind) const {
  if (!run_memory_) return std::nullopt;
  if (!memory) memory = memory_;
  if (memory) return Budget{static_cast<double>(*memory), *run_memory_};
  const bool little = bytes_of(*run_memory_, rows, seq, behind) <= kLittle;
  return Budget{little ? kLittle : static_cast<double>(default_memory()), *run_memory_};
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
void Encoder::embed_behind(const PromptStates* prompt, const Rows& ids, const std::vector<std::size_t>& rows,
                           std::size_t batch_size, const std::optional<Budget>& budget, Vectors& into) const {
  const std::size_t skipped = prompt == nullptr ? 0 : prompt->ids.size();
  Text text = model_.text;
  // Padding on the left would lie between the prompt and the text.
  if (prompt != nullptr) text.padding_side = "right";
  std::vector<std::size_t> lengths;
  for (const std::size_t row : rows) lengths.push_back(ids[row].size() - skipped);
  for (const auto& batch : batches(lengths, batch_size, budget, skipped)) {
    std::vector<std::size_t> chosen;
    for (const std::size_t index : batch) chosen.push_back(rows[index]);
    const Padded padded = pad(ids, chosen, text, skipped);
    run({padded.input_ids.data(), padded.attention_mask.data(), chosen.size(), padded.seq, prompt}, chosen, into);
  }
}

Vectors Encoder::embed(const std::int64_t* input_ids, const std::int64_t* attention_mask, std::size_t batch,
                       std::size_t seq) const {
  check_batch({input_ids, attention_mask, batch, seq}, model_);
  Vectors vectors{std::vector<float>(batch * dim_), batch, dim_};
  if (batch == 0) return vectors;
  const auto budget = budget_of(std::nullopt, batch, seq, 0);
  const std::size_t step = budget ? std::min(batch, rows_within(*budget, seq)) : batch;
  for (std::size_t start = 0; start < batch; start += step) {
    std::vector<std::size_t> rows(std::min(step, batch - start));
    std::iota(rows.begin(), rows.end(), start);
    run({input_ids + start * seq, attention_mask + start * seq, rows.size(), seq}, rows, vectors);
  }
  return vectors;
}

// Runs a padded batch, vector i to index rows[i] of `into`, or where memory is out in halves, so that no row fails in
// company that would not alone.
void Encoder::run(const Batch& batch, const std::vector<std::size_t>& rows, Vectors& into) const {
  try {
    return run_once(batch, rows, into);
  } catch (const OutOfMemory&) {  // the rest is done where nothing of the failed run is held
  }
  const std::size_t half = batch.batch / 2;
  for (const auto& [start, stop] : {std::pair{std::size_t{0}, half}, std::pair{half, batch.batch}}) {
    if (start == stop) continue;
    const Padded padded = cut(batch, start, stop);
    const Batch part{padded.input_ids.data(), padded.attention_mask.data(), stop - start, padded.seq, batch.prompt};
    if (part.batch < batch.batch) {
      run(part, {rows.begin() + as_difference(start), rows.begin() + as_difference(stop)}, into);
      continue;
    }
    try {  // one row, once more: the session has given back what it kept of earlier runs
      run_once(part, rows, into);
    } catch (const OutOfMemory& error) {
      throw alone_too_large(rows.front(), part, target_, error);
    }
  }
}

// Runs the session and checks what it gives.
void Encoder::run_once(const Batch& batch, const std::vector<std::size_t>& rows, Vectors& into) const {
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
    std::copy_n(given.row(index), dim_, into.values.begin() + as_difference(rows[index] * dim_));
}

}  // namespace poolfold
