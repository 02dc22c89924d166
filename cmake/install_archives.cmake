# Part of the install (Install.cmake sets the variables): one archive of many, and librdkafka's beside it, without debug
# information.
set(prefix $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX})
set(archive ${prefix}/lib/libmillrace.a)
message(STATUS "Installing: ${archive}")
file(MAKE_DIRECTORY ${prefix}/lib/millrace)
file(REMOVE ${archive})

set(script "CREATE ${archive}\n")
foreach(part ${archives})
  string(APPEND script "ADDLIB ${part}\n")
endforeach()
string(APPEND script "SAVE\nEND\n")
file(WRITE ${archive}.mri ${script})
execute_process(COMMAND ${ar} -M INPUT_FILE ${archive}.mri COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE ${archive}.mri)

file(INSTALL ${rdkafka} DESTINATION ${prefix}/lib/millrace)
execute_process(COMMAND ${strip} --strip-debug ${archive} ${prefix}/lib/millrace/librdkafka.a COMMAND_ERROR_IS_FATAL ANY)
