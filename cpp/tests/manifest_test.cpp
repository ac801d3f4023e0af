#include "poolfold/manifest.hpp"

#include <doctest/doctest.h>

#include "poolfold/errors.hpp"
#include "sealed.hpp"

using poolfold::ArtifactError;
using poolfold::parse_manifest;

namespace {

std::string refusal(const std::string& data) {
  return message_of<ArtifactError>([&] { parse_manifest(data); });
}

}  // namespace

TEST_CASE("a sealed manifest is read") {
  const auto manifest = parse_manifest(seal(small_manifest()));
  CHECK(manifest.model.text.padding_side == "left");
  CHECK(manifest.model.text.pad_token_id == 7);
  CHECK(manifest.strategies.at(1).trained);
  CHECK(!manifest.graphs.at(0).padding_free);
}

TEST_CASE("what the manifest tells of the tokenizer is optional, and checked") {
  auto json = small_manifest();
  for (const char* tokenizer : {"null", R"({"source": "file", "texts": 9, "differ": 0, "example": null})",
                                R"({"source": "file", "texts": 9, "differ": 1,
                                    "example": {"text": "a", "file": [1, 2], "transformers": [1]}})"}) {
    json["model"]["tokenizer"] = poolfold::Json::parse(tokenizer);
    CHECK(parse_manifest(seal(json)).model.vocab_size == 30);
  }
  json["model"]["tokenizer"]["example"]["file"][1] = "2";
  CHECK(refusal(seal(json)) ==
        "manifest.json is malformed: Expected `int`, got `str` - at `$.model.tokenizer.example.file[1]`. Export the "
        "model again.");
}

TEST_CASE("what a run takes is optional, and checked") {
  auto json = small_manifest();
  CHECK(!parse_manifest(seal(json)).graphs.at(0).run_memory);
  json["graphs"][0]["run_memory"] = {{"token_bytes", 3}, {"score_bytes", 2}, {"mask_bytes", 0}};
  const auto memory = parse_manifest(seal(json)).graphs.at(0).run_memory;
  REQUIRE(memory);
  CHECK(memory->token_bytes == 3);
  CHECK(memory->score_bytes == 2);
  CHECK(memory->mask_bytes == 0);
  CHECK(memory->slice == 0);
  json["graphs"][0]["run_memory"]["whole_up_to"] = 512;
  json["graphs"][0]["run_memory"]["slice"] = 256;
  json["graphs"][0]["sliced"] = {{"onnx/mean_fp32.onnx", "onnx/mean_fp32_sliced.onnx"}};
  const auto graph = parse_manifest(seal(json)).graphs.at(0);
  CHECK(graph.run_memory->whole_up_to == 512);
  CHECK(graph.run_memory->slice == 256);
  CHECK(graph.sliced.at("onnx/mean_fp32.onnx") == "onnx/mean_fp32_sliced.onnx");
  json["graphs"][0]["run_memory"]["mask_bytes"] = -1;
  CHECK(refusal(seal(json)) ==
        "manifest.json is malformed: graphs[0].run_memory.mask_bytes is -1; expected 0 to 2147483647. Export the model "
        "again.");
}

TEST_CASE("a graph in int8 tells what it was made for") {
  auto json = small_manifest();
  CHECK(!parse_manifest(seal(json)).graphs.at(0).made_for);
  json["graphs"][0]["quantized"] = {{"target", "openvino"}, {"floor", 0.99}, {"texts", 66},  {"layers", 24},
                                    {"kept", nullptr},      {"cosine", 1},   {"without", 1}};
  CHECK(parse_manifest(seal(json)).graphs.at(0).made_for == "openvino");
  json["graphs"][0]["quantized"]["kept"] = {{"layers", "6 of 64x32"}, {"share", 0.25}, {"cosine", "high"}};
  CHECK(refusal(seal(json)) ==
        "manifest.json is malformed: Expected `float`, got `str` - at `$.graphs[0].quantized.kept.cosine`. Export the "
        "model again.");
}

TEST_CASE("every single changed byte of a manifest is refused") {
  const std::string sealed = seal(small_manifest());
  for (std::size_t at = 0; at < sealed.size(); ++at) {
    std::string changed = sealed;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    CHECK(refusal(changed) != "");
  }
}

TEST_CASE("a later schema version is named, whatever its seal") {
  auto json = small_manifest();
  json["schema_version"] = 2;
  CHECK(refusal(json.dump()) ==
        "manifest.json has schema version 2; this poolfold reads up to version 1. Upgrade poolfold, or export the "
        "model again with this one.");
  json["schema_version"] = 0;
  CHECK(refusal(seal(json)) == "manifest.json has schema version 0; this poolfold reads version 1.");
}

TEST_CASE("an unknown key, a missing key and a wrong type are named with their place") {
  auto json = small_manifest();
  json["model"]["text"]["surprise"] = 1;
  CHECK(refusal(seal(json)) ==
        "manifest.json is malformed: Object contains unknown field `surprise` - at `$.model.text`. Export the model "
        "again.");
  json = small_manifest();
  json["graphs"][0].erase("opset");
  CHECK(refusal(seal(json)) ==
        "manifest.json is malformed: Object missing required field `opset` - at `$.graphs[0]`. Export the model "
        "again.");
  json = small_manifest();
  json["strategies"][1]["dim"] = "four";
  CHECK(refusal(seal(json)) ==
        "manifest.json is malformed: Expected `int`, got `str` - at `$.strategies[1].dim`. Export the model again.");
}
