# What a program outside this tree sees: <scalevec/optim.hpp> and its like, in the build tree too, and the installed
# package with one component per library.

set(SCALEVEC_UMBRELLAS optim/core/core.hpp)
set(SCALEVEC_LIBRARIES core)
if(SCALEVEC_THEORY)
  list(APPEND SCALEVEC_UMBRELLAS theory/theory.hpp)
  list(APPEND SCALEVEC_LIBRARIES theory)
endif()
if(SCALEVEC_WITH_TORCH)
  list(APPEND SCALEVEC_UMBRELLAS optim/optim.hpp optim/testing/testing.hpp)
  list(APPEND SCALEVEC_LIBRARIES config parallel optim)
endif()
if(SCALEVEC_MODELS)
  list(APPEND SCALEVEC_UMBRELLAS models/models.hpp)
  list(APPEND SCALEVEC_LIBRARIES models)
endif()

foreach(header ${SCALEVEC_UMBRELLAS})
  get_filename_component(file ${header} NAME)
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR}/${header} ${SCALEVEC_INCLUDE_ROOT}/scalevec/${file} SYMBOLIC)
endforeach()

if(NOT SCALEVEC_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/scalevec)
set(header_dir ${CMAKE_INSTALL_INCLUDEDIR}/scalevec)

# Headers that only our own sources include.
set(private PATTERN config EXCLUDE PATTERN cuda EXCLUDE PATTERN dispatch.hpp EXCLUDE PATTERN kernel_rows.hpp EXCLUDE
            PATTERN library_rules.hpp EXCLUDE PATTERN optimizer_parts.hpp EXCLUDE PATTERN options_json.hpp EXCLUDE PATTERN root.hpp EXCLUDE)
install(FILES ${SCALEVEC_UMBRELLAS} DESTINATION ${header_dir})
if(SCALEVEC_THEORY)
  install(DIRECTORY theory DESTINATION ${header_dir} FILES_MATCHING PATTERN *.hpp ${private})
endif()
if(SCALEVEC_MODELS)
  install(DIRECTORY models DESTINATION ${header_dir} FILES_MATCHING PATTERN *.hpp PATTERN kernels EXCLUDE ${private})
endif()
if(SCALEVEC_WITH_TORCH)
  install(DIRECTORY optim DESTINATION ${header_dir} FILES_MATCHING PATTERN *.hpp ${private})
  install(FILES cmake/FindLibTorch.cmake DESTINATION ${package_dir})
else()
  install(DIRECTORY optim/core optim/methods DESTINATION ${header_dir}/optim FILES_MATCHING PATTERN *.hpp PATTERN matrix EXCLUDE)
endif()

# A file of targets for each library, so that a user of theory is never asked for LibTorch.
foreach(library ${SCALEVEC_LIBRARIES})
  install(TARGETS scalevec_${library} EXPORT scalevec-${library} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT scalevec-${library} NAMESPACE scalevec:: FILE scalevec-targets-${library}.cmake DESTINATION ${package_dir})
endforeach()

configure_package_config_file(cmake/scalevec-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/scalevec-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/scalevec-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/scalevec-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/scalevec-config-version.cmake
        DESTINATION ${package_dir})
