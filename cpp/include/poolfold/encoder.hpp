// Computes vectors from token ids. A vector that is not finite, or is zero, is never returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "poolfold/manifest.hpp"

namespace poolfold {

class Session;
struct Batch;
struct Budget;
struct PromptStates;

// float32 [rows, dim], one row after the other.
struct Vectors {
  std::vector<float> values;
  std::size_t rows = 0;
  std::size_t dim = 0;

  const float* row(std::size_t index) const { return values.data() + index * dim; }
};

// A loaded model, from `poolfold::load`. Safe to share between threads: every member function is const and may run in
// several threads at once. Copies share the weights; the last copy frees them.
class Encoder {
 public:
  // Embeds rows of ids of any lengths, special tokens included, not padded.
  //
  // Rows of similar length share a batch of at most `batch_size`, so that little padding is computed; fewer where they
  // are long, as more would not be faster on a CPU. `memory`: bytes that one run may take on a CPU, by estimate; by default
  // `Options::memory`. A row that takes more runs alone. The vectors are in input order. No rows give no vectors. Of a row
  // that begins with the ids of a folded prompt, the rest is computed.
  //
  // Throws InputError: a row without a token, with more than max_seq_length, or with an id outside [0, vocab_size);
  // a batch size or a memory of 0. CheckFailed: a vector is not finite, or is zero. ArtifactError: the graph cannot be
  // run. OutOfMemory: one row takes more memory than this process may have.
  Vectors embed(const std::vector<std::vector<std::int64_t>>& ids, std::size_t batch_size = 32,
                std::optional<std::size_t> memory = std::nullopt) const;

  // Embeds a padded batch: `input_ids` and `attention_mask` are [batch, seq], row after row. The mask is 1 on tokens,
  // and 0 on padding, which may be on either side; it is 2 on tokens of a prompt where the manifest's
  // `text.include_prompt` is false. A batch of 0 rows gives no vectors.
  //
  // Throws as the function above, and InputError if the mask holds another value or a row marks no token.
  Vectors embed(const std::int64_t* input_ids, const std::int64_t* attention_mask, std::size_t batch,
                std::size_t seq) const;

  const std::string& strategy() const { return strategy_; }
  const std::string& dtype() const { return dtype_; }
  const std::string& target() const { return target_; }
  std::size_t dim() const { return dim_; }
  const Model& model() const { return model_; }

  // For `load` and tests: a session, and what `load` chose. Without `run_memory`, as on a GPU, rows are cut by
  // `batch_size` alone.
  Encoder(std::shared_ptr<const Session> session, Model model, std::string strategy, std::string dtype,
          std::string target, std::size_t dim, std::vector<std::shared_ptr<const PromptStates>> prompts = {},
          std::optional<RunMemory> run_memory = std::nullopt, std::optional<std::size_t> memory = std::nullopt);

 private:
  using Rows = std::vector<std::vector<std::int64_t>>;
  const PromptStates* prompt_of(const std::vector<std::int64_t>& ids) const;
  void embed_behind(const PromptStates* prompt, const Rows& ids, const std::vector<std::size_t>& rows,
                    std::size_t batch_size, const std::optional<Budget>& budget, Vectors& into) const;
  std::optional<Budget> budget_of(std::optional<std::size_t> memory, std::size_t rows, std::size_t seq,
                                  std::size_t behind) const;
  void run(const Batch& batch, const std::vector<std::size_t>& rows, Vectors& into) const;
  void run_once(const Batch& batch, const std::vector<std::size_t>& rows, Vectors& into) const;

  std::shared_ptr<const Session> session_;
  std::vector<std::shared_ptr<const PromptStates>> prompts_;
  Model model_;
  std::string strategy_, dtype_, target_;
  std::size_t dim_;
  std::optional<RunMemory> run_memory_;
  std::optional<std::size_t> memory_;
};

}  // namespace poolfold
