# The C++ API for other programs: find_package(millrace) gives millrace::millrace, one archive of the module `embed` and all that
# it links, and millrace::rdkafka, the client library that is inside. Component `devel`, which the .deb leaves out.
include(CMakePackageConfigHelpers)

# The modules that a target links, itself included, and those that they link.
function(millrace_modules_of target out)
  set(found ${${out}})
  if(NOT target IN_LIST found)
    list(APPEND found ${target})
    get_target_property(libraries ${target} LINK_LIBRARIES)
    list(FILTER libraries INCLUDE REGEX "^millrace_")
    foreach(library ${libraries})
      millrace_modules_of(${library} found)
    endforeach()
  endif()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

set(modules "")
set(archives "")
millrace_modules_of(millrace_embed modules)
foreach(module ${modules})
  get_target_property(type ${module} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    list(APPEND archives $<TARGET_FILE:${module}>)
  endif()
endforeach()

# Made at the install, not at every build: it takes seconds and copies tens of megabytes.
install(CODE "
  set(archives \"${archives}\")
  set(rdkafka \"$<TARGET_FILE:rdkafka>\")
  set(ar \"${CMAKE_AR}\")
  set(strip \"${CMAKE_STRIP}\")" COMPONENT devel)
install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/install_archives.cmake COMPONENT devel)

install(DIRECTORY include/millrace DESTINATION include COMPONENT devel FILES_MATCHING PATTERN "*.h")
install(FILES third_party/prefix/include/librdkafka/rdkafka.h DESTINATION lib/millrace/include/librdkafka COMPONENT devel)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/millraceConfig.cmake.in ${CMAKE_BINARY_DIR}/millraceConfig.cmake
  INSTALL_DESTINATION lib/cmake/millrace NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may change the API.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/millraceConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/millraceConfig.cmake ${CMAKE_BINARY_DIR}/millraceConfigVersion.cmake
  DESTINATION lib/cmake/millrace COMPONENT devel)
