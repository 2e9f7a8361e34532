# Compiler set-up shared by every target. In the tree a file is included by its path from the root.

find_program(SCALEVEC_CCACHE ccache)
if(SCALEVEC_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache refuses every file that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${SCALEVEC_CCACHE})
endif()

# What a program outside this tree includes (ScalevecInstall.cmake).
set(SCALEVEC_PUBLIC_HEADERS ${CMAKE_CURRENT_BINARY_DIR}/include)

set(SCALEVEC_WARNINGS -Wall -Wextra -Wno-unused-parameter)

# scalevec_library(NAME SOURCES...): static library scalevec_NAME with alias scalevec::NAME. Our headers are ordinary
# includes; dependencies' are SYSTEM.
function(scalevec_library name)
  add_library(scalevec_${name} STATIC ${ARGN})
  add_library(scalevec::${name} ALIAS scalevec_${name})
  set_target_properties(scalevec_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(scalevec_${name} INTERFACE
    $<BUILD_INTERFACE:${SCALEVEC_PUBLIC_HEADERS}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(scalevec_${name} PUBLIC cxx_std_20)
  target_compile_options(scalevec_${name} PRIVATE ${SCALEVEC_WARNINGS})
endfunction()

# scalevec_room(NAME SOURCES...): a folder of experiments/ as a static library scalevec_NAME.
function(scalevec_room name)
  add_library(scalevec_${name} STATIC ${ARGN})
  target_compile_features(scalevec_${name} PUBLIC cxx_std_20)
  target_compile_options(scalevec_${name} PRIVATE ${SCALEVEC_WARNINGS})
endfunction()

# Sources that include LibTorch share one precompiled header of what most of them need. Not <torch/torch.h>: it leaves every
# source twice as much to instantiate.
function(scalevec_use_torch_pch target)
  if(NOT TARGET scalevec_torch_pch)
    set(stub ${CMAKE_BINARY_DIR}/torch_pch.cpp)
    if(NOT EXISTS ${stub})
      file(WRITE ${stub} "")
    endif()
    add_library(scalevec_torch_pch OBJECT ${stub})
    target_link_libraries(scalevec_torch_pch PRIVATE scalevec::torch)
    target_precompile_headers(scalevec_torch_pch PRIVATE <torch/types.h> <torch/nn/module.h> <torch/autograd.h>
      <torch/optim/optimizer.h> <torch/utils.h>)
    target_compile_options(scalevec_torch_pch PRIVATE -fpch-preprocess)
  endif()
  # The header is compiled with -fPIC, and gcc takes it only for code compiled alike: an executable's -fPIE is not.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fpch-preprocess -fPIC)
  target_precompile_headers(${target} REUSE_FROM scalevec_torch_pch)
endfunction()

# scalevec_cuda_sources(TARGET SOURCES...): these sources of TARGET have #if defined(SCALEVEC_CUDA), which is on in a CUDA
# build. No others see it or CUDA's headers, so that a compiler cache gives a CUDA build what a CPU build compiled.
function(scalevec_cuda_sources target)
  set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  if(SCALEVEC_CUDA)
    find_package(CUDAToolkit REQUIRED)
    set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_DEFINITIONS SCALEVEC_CUDA=1
      INCLUDE_DIRECTORIES "${CUDAToolkit_INCLUDE_DIRS}" SKIP_PRECOMPILE_HEADERS ON)
  endif()
endfunction()

# scalevec_cuda_kernels(NAME KERNELS STUB SOURCES...): the CUDA source KERNELS becomes part of scalevec_NAME with
# SCALEVEC_CUDA, the C++ source STUB without. Unless SCALEVEC_CUDA_UNCHECKED says why not (optim/cuda), KERNELS is compiled
# in a CPU build too. The test cuda_link links other definitions of STUB's functions: they must not come with what else it
# needs, so STUB is in no batch, and neither are SOURCES, which call them (scalevec_cuda_sources). A macro, since a
# language is not enabled in a function.
macro(scalevec_cuda_kernels name kernels stub)
  if(NOT SCALEVEC_CUDA_UNCHECKED)
    # 100 also as PTX, from which the driver makes the code of a newer card.
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)
    enable_language(CUDA)
    if(SCALEVEC_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${SCALEVEC_CCACHE})
    endif()
    # CMake takes C++'s standard for CUDA too, and CMake 3.25 does not know the flag of this compiler.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    add_library(scalevec_cuda_${name} OBJECT ${kernels})
    set_target_properties(scalevec_cuda_${name} PROPERTIES CUDA_RUNTIME_LIBRARY Shared)
    # Three architectures of all rules and types are a sixth of the size so; programs that are packed have them each.
    target_compile_options(scalevec_cuda_${name} PRIVATE --expt-relaxed-constexpr
      $<$<BOOL:${SCALEVEC_CUDA}>:--compress-mode=size>)
  endif()
  if(SCALEVEC_CUDA)
    target_sources(scalevec_${name} PRIVATE $<TARGET_OBJECTS:scalevec_cuda_${name}>)
    set_target_properties(scalevec_${name} PROPERTIES CUDA_RUNTIME_LIBRARY Shared)
  else()
    target_sources(scalevec_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${stub})
    set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/${stub} TARGET_DIRECTORY scalevec_${name} PROPERTIES
      SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
  endif()
  scalevec_cuda_sources(scalevec_${name} ${ARGN})
endmacro()

# scalevec_isa_kernels(NAME SOURCES...): SOURCES, once per instruction set, become part of scalevec_NAME; which of the tables
# named by SCALEVEC_ISA_TABLE is used is chosen when the program runs (optim/core/instruction_set.hpp).
function(scalevec_isa_kernels name)
  set(isas baseline)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND isas avx2 avx512)
  endif()
  set(flags_baseline "")
  set(flags_avx2 -march=x86-64-v3)
  set(flags_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
  foreach(isa ${isas})
    set(kernel scalevec_${name}_kernel_${isa})
    add_library(${kernel} OBJECT ${ARGN})
    set_target_properties(${kernel} PROPERTIES UNITY_BUILD OFF)
    target_compile_features(${kernel} PRIVATE cxx_std_20)
    target_compile_options(${kernel} PRIVATE ${SCALEVEC_WARNINGS} -O3 -fopenmp-simd -fno-math-errno -fno-trapping-math
      ${flags_${isa}})
    target_compile_definitions(${kernel} PRIVATE SCALEVEC_ISA_TABLE=table_${isa} SCALEVEC_OPENMP_SIMD)
    target_sources(scalevec_${name} PRIVATE $<TARGET_OBJECTS:${kernel}>)
  endforeach()
endfunction()
