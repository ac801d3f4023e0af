#include "engine_needs.hpp"

#include <doctest/doctest.h>

#include "poolfold/errors.hpp"
#include "sealed.hpp"

using poolfold::InputError;
using poolfold::TargetUnavailable;

namespace {

const poolfold::EngineFile kFile{"DIR/e.engine", "poolfold build DIR --target tensorrt"};

poolfold::Engine engine() {
  poolfold::Engine engine;
  engine.library = "tensorrt";
  engine.library_version = "11.1.0.106";
  engine.compute_capabilities = {"8.6", "8.9"};
  engine.hardware_compatibility = "none";
  engine.profiles = {{{1, 8, 32}, {1, 64, 256}}, {{1, 1, 1}, {1, 16, 32}}};
  return engine;
}

std::string library(const poolfold::Engine& needs, const std::string& version) {
  return message_of<TargetUnavailable>([&] { poolfold::check_library(needs, kFile, version); });
}

std::string gpu(const poolfold::Engine& needs, const std::string& capability) {
  return message_of<TargetUnavailable>([&] { poolfold::check_gpu(needs, kFile, capability); });
}

}  // namespace

TEST_CASE("an engine runs with exactly its library's version, or its major number if it is version compatible") {
  auto needs = engine();
  CHECK(library(needs, "11.1.0.106") == "");
  CHECK(library(needs, "11.2.0.1") ==
        "DIR/e.engine needs tensorrt 11.1.0.106; here is 11.2.0.1. Install that version, or build the engine anew "
        "here: poolfold build DIR --target tensorrt");
  needs.version_compatible = true;
  CHECK(library(needs, "11.2.0.1") == "");
  CHECK(library(needs, "12.0.0.0") != "");
  CHECK(library(needs, "1.1.0.0") != "");
  needs.stripped = true;
  CHECK(library(needs, "11.2.0.1").find("has no weights of its own") != std::string::npos);
}

TEST_CASE("an engine runs on the compute capabilities it was built for") {
  auto needs = engine();
  CHECK(gpu(needs, "8.9") == "");
  CHECK(gpu(needs, "9.0") ==
        "DIR/e.engine was built for GPUs of compute capability 8.6, 8.9; this one has 9.0. Build the engine anew here: "
        "poolfold build DIR --target tensorrt");
  needs.hardware_compatibility = "ampere_plus";
  CHECK(gpu(needs, "9.0") == "");
  CHECK(gpu(needs, "12.0") == "");
  CHECK(gpu(needs, "7.5") != "");
}

TEST_CASE("the narrowest profile that takes a batch is chosen; what none takes is refused with what they take") {
  const auto needs = engine();
  CHECK(poolfold::choose_profile(needs, kFile, {nullptr, nullptr, 1, 16}) == 1);
  CHECK(poolfold::choose_profile(needs, kFile, {nullptr, nullptr, 1, 33}) == 0);
  CHECK(poolfold::choose_profile(needs, kFile, {nullptr, nullptr, 2, 16}) == 0);
  CHECK(message_of<InputError>([&] { poolfold::choose_profile(needs, kFile, {nullptr, nullptr, 33, 300}); }) ==
        "input_ids is [33, 300], and DIR/e.engine takes 1 to 32 rows of 1 to 256 tokens; or 1 to 1 rows of 1 to 32 "
        "tokens. Use another batch size, or build the engine anew for these shapes: poolfold build DIR --target "
        "tensorrt --batch MIN:OPT:MAX --seq-len MIN:OPT:MAX");
}
