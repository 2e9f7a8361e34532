# What a program outside this tree sees: <scalevec/optim.hpp> and its like, and the installed package with one component
# per library.

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

# In the tree an include names a file from the root ("optim/core/decay.hpp"); outside it the same file is
# <scalevec/optim/core/decay.hpp>, so that it never meets a folder of the user's.
list(JOIN SCALEVEC_UMBRELLAS "," umbrellas)
set(write_headers ${CMAKE_COMMAND} -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR} -DOUT=${SCALEVEC_PUBLIC_HEADERS}/scalevec
  -DUMBRELLAS=${umbrellas} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/public_headers.cmake)
if(NOT PROJECT_IS_TOP_LEVEL)
  execute_process(COMMAND ${write_headers} COMMAND_ERROR_IS_FATAL ANY)
endif()

if(NOT SCALEVEC_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/scalevec)
list(JOIN write_headers "\" \"" write_headers)
install(CODE "execute_process(COMMAND \"${write_headers}\" COMMAND_ERROR_IS_FATAL ANY)")
install(DIRECTORY ${SCALEVEC_PUBLIC_HEADERS}/scalevec DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(SCALEVEC_WITH_TORCH)
  install(FILES cmake/FindLibTorch.cmake DESTINATION ${package_dir})
endif()

# A file of targets for each library, so that a user of theory is never asked for LibTorch.
foreach(library ${SCALEVEC_LIBRARIES})
  install(TARGETS scalevec_${library} EXPORT scalevec-${library} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT scalevec-${library} NAMESPACE scalevec:: FILE scalevec-targets-${library}.cmake DESTINATION ${package_dir})
endforeach()

# Where find_package() does not look: it takes the parents of folders on PATH for prefixes, and build/PRESET/bin may be there.
set(SCALEVEC_PACKAGE ${CMAKE_CURRENT_BINARY_DIR}/package/files)
configure_package_config_file(cmake/scalevec-config.cmake.in ${SCALEVEC_PACKAGE}/scalevec-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${SCALEVEC_PACKAGE}/scalevec-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${SCALEVEC_PACKAGE}/scalevec-config.cmake ${SCALEVEC_PACKAGE}/scalevec-config-version.cmake
        DESTINATION ${package_dir})
