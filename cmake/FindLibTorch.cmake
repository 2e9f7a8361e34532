# LibTorch for a CPU or CUDA program, from any of (first found wins):
#   1. CMAKE_PREFIX_PATH or Torch_DIR: a LibTorch folder or the `torch` folder of a Python wheel
#   2. .deps/libtorch, where scripts/bootstrap.sh unpacks the pinned wheel
#   3. the `torch` of the active Python
# Makes the target scalevec::torch. LibTorch's own find_package(Torch) is not used: on a wheel built with CUDA it demands
# a CUDA toolkit and the NVIDIA wheels, which a CPU program does not need.

set(_candidates)
if(Torch_DIR)
  list(APPEND _candidates ${Torch_DIR} ${Torch_DIR}/../../..)
endif()
string(REPLACE ":" ";" _environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
foreach(_prefix ${CMAKE_PREFIX_PATH} ${_environment_prefixes})
  list(APPEND _candidates ${_prefix} ${_prefix}/torch ${_prefix}/../..)
endforeach()
if(DEFINED ENV{Torch_DIR})
  list(APPEND _candidates $ENV{Torch_DIR} $ENV{Torch_DIR}/../../..)
endif()
list(APPEND _candidates ${CMAKE_CURRENT_LIST_DIR}/../.deps/libtorch/torch)

find_path(LibTorch_ROOT NAMES include/torch/csrc/api/include/torch/torch.h PATHS ${_candidates} NO_DEFAULT_PATH
          DOC "Folder with LibTorch's include/ and lib/")
if(NOT LibTorch_ROOT)
  find_program(_python NAMES python3 python)
  if(_python)
    execute_process(COMMAND ${_python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                    OUTPUT_VARIABLE _torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE _failed)
    if(NOT _failed)
      find_path(LibTorch_ROOT NAMES include/torch/csrc/api/include/torch/torch.h PATHS ${_torch} NO_DEFAULT_PATH)
    endif()
  endif()
endif()
find_library(LibTorch_CPU torch_cpu PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)
find_library(LibTorch_C10 c10 PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)

set(LibTorch_VERSION)
set(_version_header ${LibTorch_ROOT}/include/torch/headeronly/version.h)
if(NOT EXISTS ${_version_header})
  set(_version_header ${LibTorch_ROOT}/include/torch/csrc/api/include/torch/version.h)
endif()
if(EXISTS ${_version_header})
  file(STRINGS ${_version_header} _lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX REPLACE "[^0-9;]" "" _numbers "${_lines}")
  list(JOIN _numbers "." LibTorch_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT LibTorch_CPU LibTorch_C10 VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/bootstrap.sh, or pass -DCMAKE_PREFIX_PATH=<the folder of LibTorch>")
if(LibTorch_FOUND AND LibTorch_VERSION VERSION_LESS 2.8)
  message(FATAL_ERROR "LibTorch ${LibTorch_VERSION} at ${LibTorch_ROOT} is too old: 2.8 or newer is needed")
endif()

if(LibTorch_FOUND AND NOT TARGET scalevec::torch)
  add_library(scalevec::torch INTERFACE IMPORTED GLOBAL)
  target_include_directories(scalevec::torch SYSTEM INTERFACE
    ${LibTorch_ROOT}/include ${LibTorch_ROOT}/include/torch/csrc/api/include)
  target_link_libraries(scalevec::torch INTERFACE ${LibTorch_CPU} ${LibTorch_C10})
  # LibTorch's own copy of OpenMP where it brings one, so that its loops and ours share one pool of threads.
  find_file(LibTorch_GOMP NAMES libgomp.so.1 PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH)
  if(LibTorch_GOMP)
    target_link_libraries(scalevec::torch INTERFACE ${LibTorch_GOMP})
  else()
    target_link_libraries(scalevec::torch INTERFACE gomp)
  endif()
  if(SCALEVEC_CUDA)
    find_package(CUDAToolkit REQUIRED)
    find_library(LibTorch_CUDA torch_cuda PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH REQUIRED)
    find_library(LibTorch_C10_CUDA c10_cuda PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH REQUIRED)
    target_link_libraries(scalevec::torch INTERFACE
      -Wl,--no-as-needed ${LibTorch_CUDA} ${LibTorch_C10_CUDA} -Wl,--as-needed ${CUDA_cudart_LIBRARY})
    # The wheel's CUDA libraries name NVIDIA wheels that only a machine with a GPU has.
    target_link_options(scalevec::torch INTERFACE -Wl,--allow-shlib-undefined)
  endif()
endif()
mark_as_advanced(LibTorch_ROOT LibTorch_CPU LibTorch_C10 LibTorch_GOMP)
