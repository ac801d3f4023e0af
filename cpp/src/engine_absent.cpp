// For builds without TensorRT: refuses every engine.
#include "engine_session.hpp"
#include "poolfold/errors.hpp"

namespace poolfold {

std::unique_ptr<const Session> open_engine(OpenFile& file, const Engine& engine, const std::string&, int) {
  throw TargetUnavailable(file.path() + " was built for " + engine.target +
                          ", and this build of poolfold does not run such engines. Configure it with "
                          "-DPOOLFOLD_ENGINES=" +
                          engine.target + ", or use target onnxruntime.");
}

}  // namespace poolfold
