#include "inputs.hpp"

#include <doctest/doctest.h>

#include "padding.hpp"
#include "poolfold/errors.hpp"
#include "sealed.hpp"

using poolfold::InputError;
using Rows = std::vector<std::vector<std::int64_t>>;

namespace {

poolfold::Model model() { return poolfold::parse_manifest(seal(small_manifest())).model; }

std::string refusal(const Rows& rows) {
  return message_of<InputError>([&] { poolfold::check_rows(rows, model()); });
}

}  // namespace

TEST_CASE("rows of ids that no model could take are refused with their place") {
  CHECK(refusal({{1, 2}, {3}}) == "");
  CHECK(refusal({}) == "");
  CHECK(refusal({{1}, {}}) ==
        "row 1 of input_ids holds no token, and the embedding of nothing is undefined. Leave it out.");
  CHECK(refusal({{1}, {2, 30}}) ==
        "input_ids holds 30 in row 1, column 1; expected [0, 30): the rows of the embedding table. Use this model's "
        "own tokeniser.");
  CHECK(refusal({{-1}}) ==
        "input_ids holds -1 in row 0, column 0; expected [0, 30): the rows of the embedding table. Use this model's "
        "own tokeniser.");
  CHECK(refusal({std::vector<std::int64_t>(9, 1)}) ==
        "row 0 of input_ids has 9 tokens; expected 1 to 8, this model's max_seq_length. Truncate it.");
}

TEST_CASE("padding goes where the model's tokeniser puts it") {
  const Rows rows{{1, 2, 3}, {4}};
  auto text = model().text;
  const auto left = poolfold::pad(rows, {1, 0}, text);
  CHECK(left.seq == 3);
  CHECK(left.input_ids == std::vector<std::int64_t>{7, 7, 4, 1, 2, 3});
  CHECK(left.attention_mask == std::vector<std::int64_t>{0, 0, 1, 1, 1, 1});
  text.padding_side = "right";
  const auto right = poolfold::pad(rows, {1, 0}, text);
  CHECK(right.input_ids == std::vector<std::int64_t>{4, 7, 7, 1, 2, 3});
  CHECK(right.attention_mask == std::vector<std::int64_t>{1, 0, 0, 1, 1, 1});
}

TEST_CASE("rows are cut out of a batch without the columns that none of them needs") {
  const std::vector<std::int64_t> ids{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, mask{1, 1, 1, 1, 0, 1, 0, 0, 0, 2, 1, 0};
  const auto cut = poolfold::cut({ids.data(), mask.data(), 3, 4}, 1, 3);
  CHECK(cut.seq == 2);
  CHECK(cut.input_ids == std::vector<std::int64_t>{6, 7, 1, 2});
  CHECK(cut.attention_mask == std::vector<std::int64_t>{1, 0, 2, 1});
}

TEST_CASE("a 2 in the mask marks the prompt, where the pooling leaves it out") {
  const std::vector<std::int64_t> ids{1, 2, 3}, mask{2, 1, 0}, prompt_alone{2, 2, 0};
  auto plain = model();
  const auto refused = [&](const std::vector<std::int64_t>& marks) {
    return message_of<InputError>([&] { poolfold::check_batch({ids.data(), marks.data(), 1, 3}, plain); });
  };
  CHECK(refused(mask) ==
        "attention_mask holds 2 in row 0, column 0; expected [0, 2): 1 for a token and 0 for padding. Use this model's "
        "own tokeniser.");
  plain.text.include_prompt = false;
  CHECK(refused(mask) == "");
  CHECK(refused(prompt_alone).rfind("row 0 of attention_mask marks no token", 0) == 0);
}
