# Installs `build` into a temporary folder, and builds and runs consumer/ against nothing but that.
cmake_minimum_required(VERSION 3.25)
set(temporary $ENV{TMPDIR})
if(NOT temporary)
  set(temporary /tmp)
endif()
string(RANDOM LENGTH 12 random)
set(folder ${temporary}/millrace-embedding-${random})

function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    file(REMOVE_RECURSE ${folder})
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "failed (${result}): ${command}")
  endif()
endfunction()

file(MAKE_DIRECTORY ${folder})
step(${CMAKE_COMMAND} --install ${build} --prefix ${folder}/installed)
step(${CMAKE_COMMAND} -G ${generator} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${folder}/build
  -D CMAKE_PREFIX_PATH=${folder}/installed -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_EXE_LINKER_FLAGS=${linker_flags}
  -D CMAKE_BUILD_TYPE=Debug)
step(${CMAKE_COMMAND} --build ${folder}/build)
step(${folder}/build/consumer ${folder})
file(REMOVE_RECURSE ${folder})
