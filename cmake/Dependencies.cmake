# Every third-party library, once, as a target. Debian's come from find_package or pkg-config; the others from
# third_party/prefix, which third_party/fetch.sh makes.
find_package(Boost 1.81 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(GTest REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(benchmark REQUIRED)
find_package(fmt REQUIRED)
find_package(simdjson REQUIRED)
find_package(spdlog REQUIRED)
find_package(tl-expected REQUIRED)
find_package(yaml-cpp REQUIRED)

find_package(PkgConfig REQUIRED)
foreach(module libisal liblz4 libzstd snappy)
  pkg_check_modules(${module} REQUIRED IMPORTED_TARGET ${module})
endforeach()

set(prefix ${PROJECT_SOURCE_DIR}/third_party/prefix)
if(NOT EXISTS ${prefix}/made-from)
  message(FATAL_ERROR "${prefix} is not made yet: run `make setup`")
endif()

# DuckDB is opened when it is first used (a broker without SQL should not pay for it), so only its header is compiled against;
# the library goes beside the binary.
add_library(duckdb_headers INTERFACE)
target_include_directories(duckdb_headers SYSTEM INTERFACE ${prefix}/include)
file(MAKE_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
file(CREATE_LINK ${prefix}/lib/libduckdb.so ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libduckdb.so SYMBOLIC)
install(FILES ${prefix}/lib/libduckdb.so DESTINATION lib/millrace)

add_library(rdkafka STATIC IMPORTED GLOBAL)
set_target_properties(rdkafka PROPERTIES
  IMPORTED_LOCATION ${prefix}/lib/librdkafka.a
  INTERFACE_INCLUDE_DIRECTORIES ${prefix}/include
  INTERFACE_LINK_LIBRARIES "OpenSSL::SSL;OpenSSL::Crypto;PkgConfig::libzstd;ZLIB::ZLIB;Threads::Threads;m;${CMAKE_DL_LIBS}")
