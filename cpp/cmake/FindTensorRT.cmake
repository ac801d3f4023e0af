# TensorRT's or TensorRT-RTX's runtime as TensorRT::Runtime; the component names which: tensorrt or tensorrt-rtx.
#
# TENSORRT_ROOT: a folder with include/ and lib/. Or apart: TENSORRT_INCLUDE_DIR and TENSORRT_LIBRARY.
set(_names nvinfer nvinfer_11 nvinfer_10)
if("tensorrt-rtx" IN_LIST TensorRT_FIND_COMPONENTS)
  set(_names tensorrt_rtx)
endif()
find_path(TENSORRT_INCLUDE_DIR NvInferRuntime.h HINTS ${TENSORRT_ROOT} ENV TENSORRT_ROOT PATH_SUFFIXES include)
find_library(TENSORRT_LIBRARY NAMES ${_names} HINTS ${TENSORRT_ROOT} ENV TENSORRT_ROOT PATH_SUFFIXES lib)

include(FindPackageHandleStandardArgs)
set(TensorRT_${TensorRT_FIND_COMPONENTS}_FOUND TRUE)
find_package_handle_standard_args(TensorRT REQUIRED_VARS TENSORRT_INCLUDE_DIR TENSORRT_LIBRARY
  REASON_FAILURE_MESSAGE "Set TENSORRT_ROOT, or TENSORRT_INCLUDE_DIR and TENSORRT_LIBRARY.")
if(TensorRT_FOUND AND NOT TARGET TensorRT::Runtime)
  add_library(TensorRT::Runtime UNKNOWN IMPORTED)
  set_target_properties(TensorRT::Runtime PROPERTIES IMPORTED_LOCATION ${TENSORRT_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${TENSORRT_INCLUDE_DIR})
endif()
mark_as_advanced(TENSORRT_INCLUDE_DIR TENSORRT_LIBRARY)
