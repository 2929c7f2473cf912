# Stop with the compiler's version and a remedy if it is too old. Otherwise the build would end in errors about missing
# features after a while.
set(oldest_GNU 11)
set(oldest_Clang 14)
set(oldest "${oldest_${CMAKE_CXX_COMPILER_ID}}")
if(oldest AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS oldest)
  message(FATAL_ERROR
    "mnistcnn needs GCC ${oldest_GNU} or newer, or Clang ${oldest_Clang} or newer, but ${CMAKE_CXX_COMPILER} has the "
    "version ${CMAKE_CXX_COMPILER_VERSION}. Install a newer compiler and name it, for example:\n"
    "  apt-get install g++-${oldest_GNU} && CXX=g++-${oldest_GNU} pip install .")
endif()
