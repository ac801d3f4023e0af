#include "sealed.hpp"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "sha256.hpp"

poolfold::Json small_manifest() {
  return poolfold::Json::parse(R"({
    "schema_version": 1, "poolfold_version": "0.1.0", "created": "2026-01-01T00:00:00+00:00", "command": ["poolfold"],
    "model": {"source": "m", "revision": null, "model_type": "bert", "hidden_size": 4, "num_layers": 1,
      "vocab_size": 30, "trained_strategy": "mean", "modules": ["transformer"], "dimensions": null,
      "similarity": "cosine", "text": {"max_seq_length": 8, "padding_side": "left", "truncation_side": "right",
        "pad_token_id": 7, "lower_case": false, "prompts": {}, "default_prompt_name": null}},
    "strategies": [{"name": "cls", "trained": false, "dim": 4}, {"name": "mean", "trained": true, "dim": 4}],
    "graphs": [{"path": "onnx/mean.onnx", "weights": null, "strategy": "mean", "dtype": "fp32",
      "inputs": ["input_ids", "attention_mask"], "output": "sentence_embedding", "opset": 23, "nodes": 9,
      "attention_layers": 1, "attention_ops": 1, "kept_fp32": [], "padding_free": null, "packed": null, "passes": {},
      "status": "validated"}],
    "engines": [], "files": [], "parity": [], "latency": [], "environment": {}})");
}

std::string seal(const poolfold::Json& manifest) {
  const std::string zeros(64, '0');
  poolfold::Json sealed = {{"manifest_sha256", zeros}};
  for (const auto& [key, value] : manifest.items()) sealed[key] = value;
  std::string text = sealed.dump(2) + "\n";
  return text.replace(text.find(zeros), zeros.size(), poolfold::sha256({text}));
}

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "poolfold-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}
