// Reads one JSON object per line from stdin and answers each with one JSON object per line, for the tests in tests/cpp,
// which compare this library with Python's. An error is answered as {"error": class, "message": text}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <poolfold/poolfold.hpp>

#include "batches.hpp"
#include "memory.hpp"
#include "quote.hpp"
#include "threads.hpp"

namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::int64_t>>;

class Driver {
 public:
  json answer(const json& question) {
    const std::string what = question.at("ask");
    if (what == "quote") return {{"text", poolfold::quote(question.at("text").get<std::string>())}};
    if (what == "manifest") {
      poolfold::read_manifest(question.at("directory").get<std::string>());
      return json::object();
    }
    if (what == "verify") {
      poolfold::verify(question.at("directory").get<std::string>());
      return json::object();
    }
    if (what == "cores") return {{"cores", poolfold::usable_cores(question.at("root").get<std::string>())}};
    if (what == "threads") return {{"threads", poolfold::default_threads()}};
    if (what == "memory") return {{"bytes", poolfold::available_bytes(question.at("root").get<std::string>())}};
    if (what == "batches") return batches(question);
    if (what == "load") return load(question);
    if (what == "rows")
      return vectors(encoder_->embed(question.at("ids").get<Rows>(), question.at("batch_size"), memory(question)));
    return batch(question);
  }

 private:
  json load(const json& question) {
    poolfold::Options options;
    if (question.contains("strategy")) options.strategy = question["strategy"].get<std::string>();
    if (question.contains("dtype")) options.dtype = question["dtype"].get<std::string>();
    if (question.contains("target")) options.target = question["target"].get<std::string>();
    if (question.contains("threads")) options.threads = question["threads"].get<int>();
    options.memory = memory(question);
    options.mmap = question.value("mmap", true);
    options.verify = question.value("verify", true);
    encoder_.emplace(poolfold::load(question.at("directory").get<std::string>(), options));
    return {{"strategy", encoder_->strategy()}, {"dtype", encoder_->dtype()}};
  }

  json batch(const json& question) {
    const Rows ids = question.at("ids"), mask = question.at("mask");
    std::vector<std::int64_t> flat_ids, flat_mask;
    for (const auto& row : ids) flat_ids.insert(flat_ids.end(), row.begin(), row.end());
    for (const auto& row : mask) flat_mask.insert(flat_mask.end(), row.begin(), row.end());
    return vectors(encoder_->embed(flat_ids.data(), flat_mask.data(), ids.size(), ids.empty() ? 0 : ids[0].size()));
  }

  static json batches(const json& question) {
    const std::vector<std::int64_t> run = question.at("run");
    const poolfold::Budget budget{question.at("memory"), {run.at(0), run.at(1), run.at(2)}};
    return {{"batches", poolfold::batches(question.at("lengths"), question.at("batch_size"), budget,
                                          question.at("behind"))}};
  }

  static std::optional<std::size_t> memory(const json& question) {
    return question.contains("memory") ? std::optional<std::size_t>(question["memory"]) : std::nullopt;
  }

  static json vectors(const poolfold::Vectors& given) {
    json rows = json::array();
    for (std::size_t row = 0; row < given.rows; ++row)
      rows.push_back(std::vector<float>(given.row(row), given.row(row) + given.dim));
    return {{"vectors", rows}, {"dim", given.dim}};
  }

  std::optional<poolfold::Encoder> encoder_;
};

}  // namespace

int main() {
  Driver driver;
  std::string line;
  while (std::getline(std::cin, line)) {
    json answer;
    try {
      answer = driver.answer(json::parse(line));
    } catch (const poolfold::Error& error) {
      answer = {{"error", error.name()}, {"message", error.what()}};
    }
    std::cout << answer.dump() << std::endl;
  }
}
