#include "poolfold/verify.hpp"

#include <doctest/doctest.h>

#include "poolfold/errors.hpp"
#include "sealed.hpp"
#include "sha256.hpp"

using poolfold::ArtifactError;

namespace {

// An artifact whose graph is a few bytes.
void write_artifact(const Folder& folder, const std::string& listed = "onnx/mean.onnx") {
  auto json = small_manifest();
  json["files"].push_back({{"path", listed}, {"bytes", 5}, {"sha256", poolfold::sha256({"graph"})}});
  write_file(folder / "manifest.json", seal(json));
  write_file(folder / "onnx/mean.onnx", "graph");
}

std::string refusal(const Folder& folder) {
  return message_of<ArtifactError>([&] { poolfold::verify(folder.path()); });
}

bool says(const std::string& message, const std::string& line) {
  return message.find("\n  - " + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("an untouched artifact is verified") {
  const Folder folder;
  write_artifact(folder);
  CHECK(poolfold::verify(folder.path()).graphs.size() == 1);
}

TEST_CASE("changed, missing, extra: each is named") {
  const Folder folder;
  write_artifact(folder);
  SUBCASE("changed") {
    write_file(folder / "onnx/mean.onnx", "grapH");
    CHECK(says(refusal(folder), "'onnx/mean.onnx': changed: SHA-256 " + poolfold::sha256({"grapH"}).substr(0, 12) +
                                    "..., expected " + poolfold::sha256({"graph"}).substr(0, 12) + "..."));
  }
  SUBCASE("longer") {
    write_file(folder / "onnx/mean.onnx", "graphs");
    CHECK(says(refusal(folder), "'onnx/mean.onnx': 6 bytes, expected 5"));
  }
  SUBCASE("missing") {
    std::filesystem::remove(folder / "onnx/mean.onnx");
    CHECK(says(refusal(folder), "'onnx/mean.onnx': missing"));
  }
  SUBCASE("what could be taken for a part") {
    write_file(folder / "onnx/old.onnx", "x");
    CHECK(says(refusal(folder),
               "'onnx/old.onnx': an extra file, which the manifest does not list, and which could be taken for a part"));
  }
}

TEST_CASE("links pass, and what is no part of the artifact") {
  const Folder folder;
  write_artifact(folder);
  std::filesystem::rename(folder / "onnx/mean.onnx", folder / "blob");
  std::filesystem::create_symlink("../blob", folder / "onnx/mean.onnx");
  write_file(folder / ".git/objects/model.onnx", "x");
  write_file(folder / "README.md", "x");
  std::filesystem::create_directory(folder / "lost+found");
  CHECK(poolfold::verify(folder.path()).graphs.size() == 1);
}

TEST_CASE("a path that leaves the artifact is never opened") {
  for (const char* path : {"../x", "/etc/passwd", "onnx//mean.onnx", "./onnx", "", ".", "manifest.json", "a\\b", "c:x",
                           "a/../../x", "onnx/"}) {
    const Folder folder;
    write_artifact(folder, path);
    CHECK(refusal(folder).find("the manifest lists a path that is not plain and relative, below the artifact") !=
          std::string::npos);
  }
}
