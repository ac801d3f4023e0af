# ONNX Runtime as OnnxRuntime::OnnxRuntime: headers and the shared library, which may come from different places.
#
# ONNXRUNTIME_ROOT: a folder with include/ and lib/. Or apart: ONNXRUNTIME_INCLUDE_DIR, the folder of
# onnxruntime_cxx_api.h, and ONNXRUNTIME_LIBRARY, the file. Headers older than the library are fine, not the reverse.
find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_cxx_api.h HINTS ${ONNXRUNTIME_ROOT} ENV ONNXRUNTIME_ROOT
          PATH_SUFFIXES include include/onnxruntime onnxruntime include/onnxruntime/core/session)
find_library(ONNXRUNTIME_LIBRARY onnxruntime HINTS ${ONNXRUNTIME_ROOT} ENV ONNXRUNTIME_ROOT PATH_SUFFIXES lib)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntime REQUIRED_VARS ONNXRUNTIME_INCLUDE_DIR ONNXRUNTIME_LIBRARY
  REASON_FAILURE_MESSAGE "Set ONNXRUNTIME_ROOT, or ONNXRUNTIME_INCLUDE_DIR and ONNXRUNTIME_LIBRARY.")
if(OnnxRuntime_FOUND AND NOT TARGET OnnxRuntime::OnnxRuntime)
  add_library(OnnxRuntime::OnnxRuntime UNKNOWN IMPORTED)
  # As a system's headers: their warnings are not ours.
  set_target_properties(OnnxRuntime::OnnxRuntime PROPERTIES IMPORTED_LOCATION ${ONNXRUNTIME_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${ONNXRUNTIME_INCLUDE_DIR})
endif()
mark_as_advanced(ONNXRUNTIME_INCLUDE_DIR ONNXRUNTIME_LIBRARY)
