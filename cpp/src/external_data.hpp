// The tensors of an ONNX graph that lie in another file, read from the graph's bytes without a library. As
// poolfold/sessions/external_data.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace poolfold {

// An initializer in another file. dtype: ONNX's number of it. location: the file, relative to the graph's folder.
// offset, length: bytes; a length of 0 means to the end of the file.
struct ExternalTensor {
  std::string name;
  std::int64_t dtype = 0;
  std::vector<std::int64_t> dims;
  std::string location;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// None where the bytes are no graph, as ONNX Runtime will say.
std::vector<ExternalTensor> external_tensors(std::string_view graph);

// Its bytes in the content of the file `file`. Throws ArtifactError, which names `graph`: the file ends before the
// tensor, or the shape needs another number of bytes.
std::string_view bytes_of(const ExternalTensor& tensor, const std::string& graph, const std::string& file,
                          std::string_view content);

}  // namespace poolfold
